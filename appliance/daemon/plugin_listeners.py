"""Listeners that plugins ask for: where, and who has which."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from appliance.api.values import ListenPlace, ListenScope
from appliance.drivers.listeners import ListenTakenError, open_listener
from appliance.drivers.sockets import OpenSocket, open_socket
from appliance.types.addresses import Address
from appliance.types.errors import ApplianceError, ConfigError

LOOPBACK = "127.0.0.1"


class PluginListeners:
    """`own_addresses` gives the node's overlay addresses, IPv4 first; empty while it is not connected.

    `sockets` are of the overlay; places on the host are listened at by sockets of the host.
    """

    def __init__(self, own_addresses: Callable[[], Sequence[Address]], sockets: OpenSocket = open_socket) -> None:
        self._sockets = sockets
        self._own_addresses = own_addresses
        self._owners: dict[tuple[Address, int], str] = {}

    def open(self, plugin: str, place: ListenPlace) -> socket.socket:
        """Raises `ApplianceError`; where another plugin has the place the text names it."""
        address = self._address(place)
        if not 0 <= place.port <= 65535:
            raise ConfigError(f"{place.port} is not a port", mend="give 1 to 65535, or 0 for any")
        try:
            sockets = self._sockets if place.scope is ListenScope.TAILNET else open_socket
            listener = open_listener(address, place.port, sockets=sockets)
        except ListenTakenError as error:
            owner = self._owners.get((address, place.port))
            if owner is None:
                raise
            who = "this plugin itself" if owner == plugin else f"plugin {owner}"
            raise ListenTakenError(f"{address} port {place.port} is in use by {who}", mend=error.mend) from None
        self._owners[address, listener.getsockname()[1]] = plugin
        return listener

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
        if wanted in own:
            raise ConfigError(f"{wanted} is an overlay address", mend="ask for it with scope 'tailnet'")
        return wanted or ip_address(LOOPBACK)
