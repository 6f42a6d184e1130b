"""`MeshBackend` of the local API: who has an address, and connections and listeners in the mesh."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from ipaddress import ip_address

from appliance.daemon.firewall_desk import addresses_of
from appliance.daemon.peer_lookup import NoSuchPeerError, NotConnectedError
from appliance.drivers.listeners import open_listener
from appliance.drivers.sockets import OpenSocket
from appliance.drivers.streams import SocketDialer
from appliance.localapi.mesh_schema import DialRequest, HandoutRequest, ListenRequest, WhoisReply
from appliance.netmap.store import NetmapView
from appliance.peerapi.caller import identify
from appliance.types.addresses import Address, AddrPort
from appliance.types.errors import ApplianceError, ConfigError

MAX_DIAL_S = 120.0


class DialError(ApplianceError):
    """Nothing answers there."""

    code = "dial-failed"


class MeshDesk:
    """`view` gives what is known now, None while not connected; `sockets` are of the overlay."""

    def __init__(
        self, view: Callable[[], NetmapView | None], sockets: OpenSocket, shields_up: Callable[[], bool]
    ) -> None:
        self._view = view
        self._sockets = sockets
        self._shields_up = shields_up
        self._dialer = SocketDialer(mark=0, sockets=sockets)

    def whois(self, address: str) -> WhoisReply:
        """`address` with or without a port. Raises `NotConnectedError`, `NoSuchPeerError` and `ConfigError`."""
        view = self._connected()
        caller = identify(view, AddrPort(str(_address(address)), 0), shields_up=self._shields_up())
        if caller is None:
            raise NoSuchPeerError(f"no peer has the address {address}", mend="waypost status lists them")
        node, profile = caller.node, view.users.get(caller.node.user)
        return WhoisReply(
            stable_id=node.stable_id,
            name=node.name.rstrip("."),
            addresses=tuple(str(prefix.network_address) for prefix in node.addresses),
            user=caller.login,
            display_name=profile.display_name if profile is not None and caller.login else "",
            tags=node.tags,
            os=node.os,
            online=node.online,
            capabilities=dict(caller.capabilities()),
        )

    async def hand_out(self, request: HandoutRequest) -> socket.socket:
        if not 0 <= request.port <= 65535:
            raise ConfigError(f"{request.port} is no port", mend="give 1 to 65535")
        if isinstance(request, DialRequest):
            return await self._dial(request)
        return self._listen(request)

    async def _dial(self, request: DialRequest) -> socket.socket:
        addresses = addresses_of(self._connected(), request.host)
        try:
            async with asyncio.timeout(min(max(request.timeout_s, 0.1), MAX_DIAL_S)):
                return await self._dialer.connect(addresses, request.port)
        except TimeoutError:
            text = f"{request.host} port {request.port} did not answer within {request.timeout_s:g} s"
            raise DialError(text, mend=f"see: waypost ping {request.host}") from None
        except OSError as error:
            raise DialError(f"cannot reach {request.host}: {error}", mend="is the port open to this node?") from error

    def _listen(self, request: ListenRequest) -> socket.socket:
        own = self._connected().self_node
        addresses = [prefix.network_address for prefix in own.addresses] if own is not None else []
        wanted = _address(request.address) if request.address else next(iter(addresses), None)
        if wanted is None or wanted not in addresses:
            mend = "waypost ip prints those that it has"
            raise ConfigError(f"{request.address!r} is no address of this node in the mesh", mend=mend)
        return open_listener(wanted, request.port, sockets=self._sockets)

    def _connected(self) -> NetmapView:
        view = self._view()
        if view is None or view.self_node is None:
            raise NotConnectedError
        return view


def _address(text: str) -> Address:
    """Of `100.64.0.1`, `100.64.0.1:80`, `fd7a::1` or `[fd7a::1]:80`."""
    bare = text[1:].partition("]")[0] if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return ip_address(bare)
    except ValueError:
        raise ConfigError(f"{text!r} is no IP address", mend="write it as 100.64.0.1 or 100.64.0.1:80") from None
