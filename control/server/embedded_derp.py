"""The embedded relay and STUN server: on the front listener where that speaks TLS, else on an own pinned listener."""

from __future__ import annotations

import contextlib
import os
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

import structlog

from appliance.proto.derp.upgrade import PATH
from appliance.types.addresses import Address
from appliance.types.errors import ApplianceError, ConfigError
from appliance.types.netmap import DerpMap, DerpNode, DerpRegion
from control.derp.endpoints import PROBES, plain_reply
from control.derp.server import DerpLimits, DerpServer
from control.derp.throttle import byte_rate
from control.server.routes import PlainRequest, PlainResponse, Routes
from control.stun.server import StunServer
from control.tls.identity import ServerTls

if TYPE_CHECKING:
    from appliance.ports.clock import Clock
    from appliance.ports.randomness import Randomness
    from appliance.types.keys import DerpPrivateKey, NodePublicKey
    from control.server.settings import ServerSettings
    from control.service.counters import Counters
    from control.service.interface import NodeFacing
    from control.state.changes import Change

log = structlog.get_logger("control.derp")

CERTIFICATE_FILE = "derp-certificate.pem"
REGION_CODE = "home"
NO_ADDRESS = "none"
_HTTP_PORT = 80
_PORTAL_PROBE = "/generate_204"
"""Asked of the server's own port 80 by nodes that look for a captive portal (derp spec 11)."""
_ROUTE_PROBE = ("192.0.2.1", 9)


class EmbeddedDerp:
    """One region of one relay. `start`, then `derp_map`; `stop` at the end."""

    def __init__(
        self,
        settings: ServerSettings,
        host: str,
        private: DerpPrivateKey,
        clock: Clock,
        randomness: Randomness,
        front_tls: ServerTls | None = None,
    ) -> None:
        self._settings = settings
        self._host, self._addresses = relay_host(host)
        self._service: NodeFacing | None = None
        limits = DerpLimits(client=byte_rate(settings.derp_client_rate), total=byte_rate(settings.derp_total_rate))
        self._server = DerpServer(private, randomness, clock, self._admit, limits=limits)
        self._stun = StunServer(randomness.bytes(32))
        self._tls: ServerTls | None = None
        self._port = 0
        self._front_tls = front_tls
        if front_tls is None:
            file = settings.data_dir / CERTIFICATE_FILE
            self._tls = ServerTls.self_signed(
                file, [self._host, *map(str, self._addresses)], clock, randomness, self._server.public_key
            )

    async def start(self, routes: Routes) -> None:
        """Open the listeners. Raises `ApplianceError` when a port cannot be had."""
        routes.plain["GET", _PORTAL_PROBE] = _plain
        if self._tls is None:
            self._port = self._settings.listen.port
            self._add_routes(routes)
        else:
            listen = self._settings.derp_listen
            try:
                self._port = await self._server.listen(listen.ip, listen.port, self._tls.context)
            except OSError as error:
                mend = "stop the program that has it, or choose another address with --derp-listen"
                reason = os.strerror(error.errno).lower() if error.errno else str(error)
                raise ApplianceError(
                    f"the relay cannot listen on {listen}: {reason}", mend=mend, code="listen"
                ) from error
        if self._settings.stun_port:
            await self._stun.listen(self._settings.stun_port)

    def serve(self, service: NodeFacing) -> None:
        """Admit the nodes of this service from now on."""
        self._service = service
        service.subscribe(self._changed)

    def derp_map(self) -> DerpMap:
        """The region as nodes are told of it."""
        region_id = self._settings.derp_region
        tls = self._tls or self._front_tls
        node = DerpNode(
            name=f"{region_id}a",
            region_id=region_id,
            host_name=self._host,
            cert_name=tls.cert_name if tls is not None else "",
            ipv4=_family(self._addresses, 4),
            ipv6=_family(self._addresses, 6),
            stun_port=self._settings.stun_port or -1,
            derp_port=self._port,
            can_port80=self._front_tls is None and self._settings.listen.port == _HTTP_PORT,
        )
        region = DerpRegion(id=region_id, code=REGION_CODE, name="Own relay", nodes=(node,))
        return DerpMap(regions={region_id: region})

    def refresh(self) -> bool:
        """Renew the certificate when due; True = the DERP map changed and must be told."""
        return self._tls.refresh() if self._tls is not None else False

    def count_in(self, counters: Counters) -> None:
        """Show what relay and STUN count."""
        counters.add("derp", self._server.metrics)
        counters.add("stun", self._stun.metrics)

    async def stop(self) -> None:
        self._stun.close()
        await self._server.stop()

    async def _admit(self, key: NodePublicKey, remote_ip: str) -> bool:
        return self._service is not None and self._service.is_known(key)

    def _changed(self, change: Change) -> None:
        """A key that is no living node's loses its relay connections; admission is checked at connect only."""
        for node in change.nodes:
            if node.before is not None and not (self._service and self._service.is_known(node.before.node_key)):
                self._server.close_peer(node.before.node_key)

    def _add_routes(self, routes: Routes) -> None:
        routes.raw[PATH] = self._server.upgrade
        for path in (*PROBES, "/robots.txt"):
            routes.plain[("GET", path)] = _plain


async def _plain(request: PlainRequest) -> PlainResponse:
    reply = plain_reply(request.head)
    if reply is None:
        return PlainResponse(404, b"not found\n")
    return PlainResponse(reply.status, reply.body, "text/plain", reply.headers)


def relay_host(text: str) -> tuple[str, tuple[Address, ...]]:
    """`name,address,address` as the relay's host name and its addresses; the name may be an address itself.

    Raises `ConfigError` for anything else after the first comma.
    """
    name, *more = (part.strip() for part in text.split(","))
    addresses = []
    with contextlib.suppress(ValueError):
        addresses.append(ip_address(name))
    for part in more:
        try:
            addresses.append(ip_address(part))
        except ValueError:
            raise ConfigError(
                f"{part!r} is no IP address", mend="write --derp-host NAME,ADDRESS with addresses after the comma"
            ) from None
    return name, tuple(addresses)


def _family(addresses: tuple[Address, ...], version: int) -> str:
    """A DERP node's field for a family: the literal, nothing where DNS decides, or "none" (derp spec section 6).

    A literal says "none" for the other family: left empty, clients probe it until their time-out, 3 s a report.
    """
    if not addresses:
        return ""
    return next((str(address) for address in addresses if address.version == version), NO_ADDRESS)


def relay_text(settings: ServerSettings) -> str | None:
    """Where nodes find the relay of this host: as set, else the certificate's name, else the host's own address."""
    named = settings.acme.names[0] if settings.acme is not None else None
    return settings.derp_host or named or own_address()


def own_address() -> str | None:
    """The address from which this host reaches others; None without a route. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ROUTE_PROBE)
        except OSError:
            return None
        return str(probe.getsockname()[0])
