"""The running part: the UDP port, the addresses under which it is reached, grants that end, sessions that end."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from appliance.api import HostHandle, LogLevel, RefreshKind, UdpPort
from appliance.proto.stun import encode_request, parse_response
from appliance.types.addresses import AddrPort, parse_addr_port
from appliance.types.errors import DecodeError
from plugins.peer_relay.rules import offered_addresses

if TYPE_CHECKING:
    from plugins.peer_relay.relay import Relay

TICK_S = 1.0
STUN_EVERY = 23
"""Ticks between two looks at the addresses: just under common NAT time-outs of 30 s."""
GRANTS_EVERY = 5
"""Ticks between two looks at the grants of those who have sessions."""
RELAY_GRANT = "tailscale.com/cap/relay"
TX_ID_SIZE = 12


class RelayService:
    """Its answers to peers are the hooks' business; what it finds out it puts into `relay`."""

    name = "relay"

    def __init__(self, host: HostHandle, relay: Relay) -> None:
        self._host = host
        self._relay = relay
        self._asked: dict[bytes, AddrPort] = {}
        self._mapped: dict[AddrPort, AddrPort] = {}
        """What a STUN server said, by server."""

    async def run(self) -> NoReturn:
        """Raises `ApplianceError` when the port cannot be had; the core tries again later."""
        while True:
            wished = self._relay.config.port
            ports = await self._host.open_udp(wished)
            try:
                self._relay.forwarder.use(ports)
                for port in ports:
                    port.set_reader(partial(self._readable, port))
                self._relay.ports = tuple(port.local for port in ports)
                await self._host.log(LogLevel.INFO, "listening", {"ports": [str(each) for each in self._relay.ports]})
                await self._work(wished)
            finally:
                self._relay.ports = self._relay.addresses = ()
                for port in ports:
                    port.close()

    def _readable(self, port: UdpPort) -> None:
        self._relay.forwarder.readable(port, self._relay.clock())

    async def _work(self, wished: int) -> None:
        """Until another port is wished."""
        tick, told = 0, self._relay.forbidden
        while self._relay.config.port == wished:
            if tick % STUN_EVERY == 0:
                await self._ask_stun()
            if tick % GRANTS_EVERY == 0:
                await self._check_grants()
            self._take_stun_answers()
            await self._refresh_addresses()
            if told != self._relay.forbidden:
                told = self._relay.forbidden
                await self._host.request_refresh(RefreshKind.HOSTINFO, "whether this node may relay changed")
            self._relay.server.handle_timer(self._relay.clock())
            tick += 1
            await self._host.sleep(TICK_S)

    async def _ask_stun(self) -> None:
        self._asked.clear()
        servers = await self._host.stun_servers() if self._relay.config.stun else ()
        asked = [parse_addr_port(text) for text in servers]
        self._mapped = {server: self._mapped[server] for server in asked if server in self._mapped}
        for server in asked:
            tx_id = secrets.token_bytes(TX_ID_SIZE)
            self._asked[tx_id] = server
            self._relay.forwarder.send(server, encode_request(tx_id))

    def _take_stun_answers(self) -> None:
        answers, self._relay.stun_answers = self._relay.stun_answers, []
        for source, packet in answers:
            try:
                response = parse_response(packet)
            except DecodeError:
                continue
            if self._asked.get(response.tx_id) == source:
                self._mapped[source] = response.mapped

    async def _refresh_addresses(self) -> None:
        static, own = self._relay.config.static_endpoints, await self._host.underlay_addresses()
        found = offered_addresses(static, self._mapped.values(), own, self._relay.ports)
        if found != self._relay.addresses:
            self._relay.addresses = found
            await self._host.request_refresh(RefreshKind.STATUS, "the relay's addresses changed")

    async def _check_grants(self) -> None:
        """A node that lost its grant loses its sessions."""
        for owner in self._relay.server.owners():
            if RELAY_GRANT not in await self._host.granted(owner):
                ended = self._relay.server.close_owned(owner)
                await self._host.log(LogLevel.INFO, "grant_ended", {"node": owner, "sessions": ended})
