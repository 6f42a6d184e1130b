"""Listeners that plugins ask for: where, and who has which."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from appliance.api.values import ListenPlace, ListenScope, Transport
from appliance.drivers.exit_datagrams import LinuxExitDatagrams
from appliance.drivers.listeners import ListenTakenError, open_datagrams, open_listener
from appliance.drivers.sockets import OpenSocket, open_socket, transparent
from appliance.types.addresses import SERVICE_V4, SERVICE_V6, Address
from appliance.types.errors import ApplianceError, ConfigError

LOOPBACK = "127.0.0.1"
SERVICE_ADDRESSES = (SERVICE_V4, SERVICE_V6)


class PluginListeners:
    """`own_addresses` gives the node's overlay addresses, IPv4 first; empty while it is not connected.

    `sockets` are of the overlay; places on the host are listened at by sockets of the host.
    """

    def __init__(self, own_addresses: Callable[[], Sequence[Address]], sockets: OpenSocket = open_socket) -> None:
        self._sockets = sockets
        self._own_addresses = own_addresses
        self._owners: dict[tuple[Address, int, Transport], str] = {}

    def open(self, plugin: str, place: ListenPlace) -> socket.socket:
        """Raises `ApplianceError`; where another plugin has the place the text names it."""
        address = self._address(place)
        if not 0 <= place.port <= 65535:
            raise ConfigError(f"{place.port} is not a port", mend="give 1 to 65535, or 0 for any")
        try:
            sockets = self._opener(place.scope)
            early = place.scope is ListenScope.SERVICE  # the router gives the host that address with the first netmap
            opened = open_datagrams if place.transport is Transport.UDP else open_listener
            listener = opened(address, place.port, early=early, sockets=sockets)
        except ListenTakenError as error:
            owner = self._owners.get((address, place.port, place.transport))
            if owner is None:
                raise
            who = "this plugin itself" if owner == plugin else f"plugin {owner}"
            raise ListenTakenError(f"{address} port {place.port} is in use by {who}", mend=error.mend) from None
        self._owners[address, listener.getsockname()[1], place.transport] = plugin
        return listener

    def take_datagrams(self) -> LinuxExitDatagrams:
        """UDP of those who use this exit. Raises `UnderlayError`."""
        return LinuxExitDatagrams(self._sockets)

    def _opener(self, scope: ListenScope) -> OpenSocket:
        match scope:
            case ListenScope.LOCAL:
                return open_socket
            case ListenScope.EXIT:
                return transparent(self._sockets)
        return self._sockets

    def released(self, plugin: str) -> None:
        for place in [place for place, owner in self._owners.items() if owner == plugin]:
            del self._owners[place]

    def _address(self, place: ListenPlace) -> Address:
        try:
            wanted = ip_address(place.address) if place.address else None
        except ValueError:
            raise ConfigError(f"{place.address!r} is not an IP address", mend="write it as 192.168.1.1") from None
        own = self._own_addresses()
        if place.scope is ListenScope.TAILNET:
            if not own or (wanted is not None and wanted not in own):
                text = f"this node has no overlay address {wanted}" if wanted else "this node is not connected"
                raise ApplianceError(text, mend="run: waypost up", code="not-connected")
            return wanted or own[0]
        if place.scope is ListenScope.SERVICE:
            if wanted not in (None, *SERVICE_ADDRESSES):
                text = f"{wanted} is no service address of the mesh"
                raise ConfigError(text, mend=f"they are: {', '.join(map(str, SERVICE_ADDRESSES))}")
            return wanted or SERVICE_V4
        if place.scope is ListenScope.EXIT and wanted is not None and not wanted.is_loopback:
            raise ConfigError(f"{wanted} is no loopback address", mend="use 127.0.0.1 or ::1")
        if wanted in own:
            raise ConfigError(f"{wanted} is an overlay address", mend="ask for it with scope 'tailnet'")
        return wanted or ip_address(LOOPBACK)
