"""The running part: sockets on the LANs and in the tunnel, opened anew when the networks change."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from ipaddress import ip_address
from typing import NoReturn

from appliance.api import AttachedPrefix, HostHandle, ListenPlace, ListenScope, LogLevel, RefreshKind, Transport
from appliance.proto.mdns import GROUP_V4, GROUP_V6, PORT
from appliance.proto.mdns.message import MAX_MESSAGE
from appliance.types.addresses import known_prefix
from appliance.types.errors import ApplianceError
from plugins.mdns_reflector.config import MdnsReflectorConfig
from plugins.mdns_reflector.state import ReflectorState

LOOK_S = 3.0
BATCH = 32
"""Datagrams taken at one go, so that other work has its turn."""
GROUPS = {4: GROUP_V4, 6: GROUP_V6}

Lans = tuple[AttachedPrefix, ...]


class Reflection:
    """Belongs to one event loop."""

    name = "reflection"

    def __init__(self, host: HostHandle, state: ReflectorState, clock: Callable[[], float]) -> None:
        self._host = host
        self._state = state
        self._clock = clock
        self._groups: dict[tuple[str, int], socket.socket] = {}
        """By interface and IP version."""
        self._tunnel: socket.socket | None = None
        self._lans: Lans = ()

    async def run(self) -> NoReturn:
        while True:
            config, lans = self._state.config, await self._wanted_lans()
            self._state.take_peers((await self._host.netmap()).peers)
            try:
                with ExitStack() as stack:
                    await self._open(config, lans, stack)
                    await self._changed(config, lans)
            except ApplianceError as error:
                await self._problem(error.line())
                await self._host.sleep(LOOK_S)

    async def _wanted_lans(self) -> Lans:
        """The networks of the chosen interfaces that have a carrier; none while the settings are not complete."""
        wanted = self._state.config.interfaces if self._state.is_wanted else ()
        return tuple(lan for lan in await self._host.attached_prefixes() if lan.interface in wanted and lan.up)

    async def _changed(self, config: MdnsReflectorConfig, lans: Lans) -> None:
        """Until settings or networks are others."""
        while self._state.config == config and await self._wanted_lans() == lans:
            await self._host.sleep(LOOK_S)

    async def _open(self, config: MdnsReflectorConfig, lans: Lans, stack: ExitStack) -> None:
        """Raises `ApplianceError`."""
        stack.callback(self._closed)
        if not lans:
            missing = self._state.missing_lans(await self._host.attached_prefixes())
            wanted = self._state.is_wanted and missing
            await self._problem(f"no network is attached by {', '.join(missing)}" if wanted else "")
            return
        self._lans = lans
        place = ListenPlace(ListenScope.TAILNET, config.port, transport=Transport.UDP)
        self._tunnel = stack.enter_context(await self._host.listen(place))
        self._read(self._tunnel, self._from_site, stack)
        attached = {(lan.interface, ip_address(lan.address).version) for lan in lans}
        for interface, version in sorted(attached | {(name, 6) for name, _ in attached}):
            try:
                member = stack.enter_context(await self._host.join_group(interface, GROUPS[version], PORT))
            except ApplianceError:
                if (interface, version) in attached:
                    raise
                continue  # hosts speak IPv6 by link-local addresses on nearly every LAN, but not on this one
            self._groups[interface, version] = member
            self._read(member, partial(self._from_lan, interface), stack)
        self._state.open_lans = tuple(f"{name} (IPv{version})" for name, version in self._groups)
        address, port = self._tunnel.getsockname()[:2]
        self._state.listening = f"{address} port {port}"
        await self._problem("")
        await self._host.log(LogLevel.INFO, "reflecting", {"lans": list(self._state.open_lans)})

    def _closed(self) -> None:
        self._groups.clear()
        self._tunnel, self._lans = None, ()
        self._state.open_lans, self._state.listening = (), ""

    async def _problem(self, text: str) -> None:
        if text != self._state.problem:
            self._state.problem = text
            await self._host.request_refresh(RefreshKind.STATUS, "the reflector opened or closed")

    # datagrams

    def _read(self, sock: socket.socket, take: Callable[[bytes, str, int], None], stack: ExitStack) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(sock.fileno(), self._readable, sock, take)
        stack.callback(loop.remove_reader, sock.fileno())

    def _readable(self, sock: socket.socket, take: Callable[[bytes, str, int], None]) -> None:
        for _ in range(BATCH):
            try:
                data, source = sock.recvfrom(MAX_MESSAGE + 1)
            except OSError:  # nothing waits, or an ICMP error of a datagram that nobody took
                return
            take(data, str(source[0]).partition("%")[0], int(source[1]))

    def _from_lan(self, interface: str, data: bytes, source: str, port: int) -> None:
        """From a neighbour's resolver only: others want a unicast reply, or come from elsewhere (RFC 6762, 6.7, 11)."""
        if port != PORT or not is_on_link(source, interface, self._lans):
            self._state.reflector.counters["out_stranger"] += 1
            return
        self._to_sites(self._state.reflector.receive_from_lan(data, interface, self._clock()))

    def _from_site(self, data: bytes, source: str, port: int) -> None:
        site = self._state.site_of.get(source)
        if site is None:
            self._state.reflector.counters["in_stranger"] += 1
            return
        self._to_lans(self._state.reflector.receive_from_site(data, site, self._clock()))

    def _to_sites(self, datagrams: Sequence[bytes]) -> None:
        if self._tunnel is None:
            return
        version = 6 if self._tunnel.family == socket.AF_INET6 else 4
        for target in self._state.targets(version):
            for datagram in datagrams:
                with suppress(OSError):  # a gateway that is away; hosts ask again
                    self._tunnel.sendto(datagram, (target, self._state.config.port))

    def _to_lans(self, datagrams: Sequence[bytes]) -> None:
        for (_, version), member in self._groups.items():
            for datagram in datagrams:
                with suppress(OSError):  # a network that just went away
                    member.sendto(datagram, (GROUPS[version], PORT))


def is_on_link(source: str, interface: str, lans: Lans) -> bool:
    address = ip_address(source)
    return address.is_link_local or any(
        lan.interface == interface and address in known_prefix(lan.prefix) for lan in lans
    )
