"""The running part: keeps sockets, resolvers and the host's own setting as the settings and the netmap want them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address, ip_network

from appliance.api import (
    AttachedPrefix,
    DnsAnswer,
    DnsUpstream,
    HostHandle,
    ListenPlace,
    ListenScope,
    LogLevel,
    RefreshKind,
    ResolverWay,
    ResolverWish,
    Transport,
)
from appliance.proto.dns import Reply
from appliance.types.addresses import SERVICE_V4, SERVICE_V6, unmap
from appliance.types.errors import ApplianceError
from plugins.magicdns.core import Core
from plugins.magicdns.errors import UpstreamSettingError
from plugins.magicdns.host_files import read_host
from plugins.magicdns.listen import Judge, Listener
from plugins.magicdns.os_dns import HostFiles, choose_way, former_nameservers, make_wish
from plugins.magicdns.resolver import Client
from plugins.magicdns.routes import RouteTable
from plugins.magicdns.state import DnsState, OsState, UpstreamState
from plugins.magicdns.upstream import Upstream, parse_upstream, parse_upstreams, without

LOOK_S = 2.0
"""How often the host's files and addresses are looked at; changes of the netmap and of settings count at once."""
RETRY_S = 10.0
QUIET_S = 60.0
"""After so long an overwritten setting is forgotten."""
DNS_PORT = 53
REPORTS = 256
"""Answers on their way to other plugins; more are left out."""


class DnsService:
    """`core` is what hooks and service share; `read` gives the host's files."""

    name = "resolver"

    def __init__(self, host: HostHandle, core: Core, read: Callable[[], HostFiles] = read_host) -> None:
        self._host = host
        self._core = core
        self._read = read
        self._files = HostFiles()
        self._listeners: dict[ListenPlace, asyncio.Task[None]] = {}
        self._attached: tuple[AttachedPrefix, ...] = ()
        self._former: tuple[str, ...] = ()
        """Resolvers that this host asks without us, as far as they are known; `_former_at` are the networks then."""
        self._former_at: tuple[AttachedPrefix, ...] = ()
        self._exit = ""
        self._shielded = False
        self._told: ResolverWish | None = None
        self._resolved_run = ""
        self._retry_at = 0.0
        self._overwritten_at = 0.0
        self._checked = RouteTable()

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                self._core.group = group
                group.create_task(self._core.resolver.run())
                group.create_task(self._report())
                await self._follow(group)
        finally:
            self._core.group = None
            self._listeners.clear()
            self._core.note(listening=(), upstreams=())
            await self._core.transports.close()
            await self._give_back()

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._core.changed.clear()
            before = self._core.state
            await self._look(group)
            self._core.measure()
            if _shown(before) != _shown(self._core.state):
                await self._host.request_refresh(RefreshKind.STATUS, "resolver changed")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._core.changed.wait()

    async def _report(self) -> None:
        """Tell other plugins what names resolve to."""
        seen: asyncio.Queue[DnsAnswer] = asyncio.Queue(REPORTS)

        def note(name: str, reply: Reply) -> None:
            if not seen.full():
                found = tuple((owner, str(address), ttl) for owner, address, ttl in reply.addresses())
                seen.put_nowait(DnsAnswer(name, found, tuple(reply.targets())))

        self._core.resolver.observers.append(note)
        try:
            while True:
                await self._host.report_answer(await seen.get())
        finally:
            self._core.resolver.observers.remove(note)

    async def _look(self, group: asyncio.TaskGroup) -> None:
        self._files = self._read()
        self._attached = await self._host.attached_prefixes()
        self._remember_former()
        self._exit = await self._host.exit_resolver()
        self._shielded = await self._host.site_shielded()
        self._set_routes(group)
        await self._set_places(group)
        await self._set_host()

    # --- resolvers

    def _remember_former(self) -> None:
        """NetworkManager shows nothing of its own while it is told to ask us: what it had before holds on this network.

        On another network nothing is known, so ours are taken back, and its own show.
        """
        found = former_nameservers(self._files)
        told = self._told is not None and self._told.nameservers and self._told.way is ResolverWay.NETWORK_MANAGER
        if found or not told or self._attached != self._former_at:
            self._former, self._former_at = found, self._attached

    def _set_routes(self, group: asyncio.TaskGroup) -> None:
        state, config = self._core.state, self._core.state.config
        wrong: list[str] = []
        suffixes: dict[str, tuple[Upstream, ...]] = {}
        if config.accept:
            for suffix, given in state.dns.routes.items():
                if kept := self._through_exit(given):
                    suffixes[suffix.lower()] = _usable(kept, wrong)
        for suffix, texts in config.routes.items():
            suffixes[suffix.strip(".").lower()] = parse_upstreams(texts, "routes")
        default = suffixes.pop("", ()) or parse_upstreams(config.upstreams, "upstreams")
        if not default and config.accept:
            default = _usable(self._through_exit(state.dns.resolvers), wrong)
        if not default and self._exit:
            default = _usable([DnsUpstream(self._exit)], wrong)
        if not default:
            default = _usable([DnsUpstream(text) for text in self._former], [])
        if not default and config.accept:
            default = _usable(state.dns.fallback, wrong)
        own = self._own_addresses()
        default = without(default, own)
        is_open = not self._shielded or all(each.is_inside for each in default)
        table = RouteTable({suffix: without(found, own) for suffix, found in suffixes.items()}, default, is_open)
        self._core.transports.trust.set_ca_file(config.ca_file)
        self._core.set_routes(table)
        self._core.note(wrong_resolvers=tuple(wrong))
        if table != self._checked:
            self._checked = table
            group.create_task(self._core.resolver.find_loops())

    def _through_exit(self, given: Sequence[DnsUpstream]) -> Sequence[DnsUpstream]:
        """While an exit is in use it looks names up, but for resolvers that control wants asked all the same."""
        return [each for each in given if each.with_exit_node] if self._exit else given

    def _own_addresses(self) -> set[str]:
        own = self._core.state.own
        found = {str(SERVICE_V4), str(SERVICE_V6), *(own.addresses if own is not None else ())}
        if self._core.state.config.serve_lan:
            found.update(lan.address for lan in self._attached if lan.address)
        return found

    # --- places

    async def _set_places(self, group: asyncio.TaskGroup) -> None:
        wanted = self._places()
        for place in [place for place in self._listeners if place not in wanted]:
            self._listeners.pop(place).cancel()
        judge = self._judge()
        refused: dict[str, str] = {}
        for place in wanted:
            task = self._listeners.get(place)
            if task is None or task.done():
                await self._open(place, judge, group, refused)
        self._core.judge = judge
        self._core.note(listening=tuple(_place_text(place) for place in self._listeners), refused=refused)

    def _places(self) -> tuple[ListenPlace, ...]:
        state = self._core.state
        found: list[ListenPlace] = []
        if state.own is not None:
            versions = state.versions()
            found += [
                ListenPlace(ListenScope.SERVICE, DNS_PORT, str(address))
                for address in (SERVICE_V4, SERVICE_V6)
                if address.version in versions
            ]
        if state.config.serve_lan:
            at = state.config.lan_addresses or tuple(lan.address for lan in self._attached if lan.address)
            found += [ListenPlace(ListenScope.LOCAL, state.config.port, address) for address in dict.fromkeys(at)]
        return tuple(found)

    async def _open(self, place: ListenPlace, judge: Judge, group: asyncio.TaskGroup, refused: dict[str, str]) -> None:
        try:
            datagrams = await self._host.listen(replace(place, transport=Transport.UDP))
            try:
                stream = await self._host.listen(place)
            except ApplianceError:
                datagrams.close()
                raise
        except ApplianceError as error:
            refused[_place_text(place)] = error.text
            return
        listener = Listener(datagrams, stream, self._core.resolver, lambda source: self._core.judge(source))
        self._listeners[place] = group.create_task(listener.run())

    def _judge(self) -> Judge:
        """Own addresses are this host; attached prefixes, and those of the settings, are the site."""
        config = self._core.state.config
        own = {ip_address(text) for text in self._own_addresses()}
        own |= {ip_address(lan.address) for lan in self._attached if lan.address}
        prefixes = [ip_network(lan.prefix) for lan in self._attached] if config.serve_lan else []
        prefixes += [ip_network(text) for text in config.lan_clients] if config.serve_lan else []

        @lru_cache(maxsize=4096)
        def judge(source: str) -> Client | None:
            address = unmap(ip_address(source.partition("%")[0]))
            if address.is_loopback or address in own:
                return Client.HOST
            inside = any(address.version == prefix.version and address in prefix for prefix in prefixes)
            return Client.SITE if inside else None

        return judge

    # --- the host's own programs

    async def _set_host(self) -> None:
        wish = self._wish()
        now = time.monotonic()
        if wish == self._told and not self._forgotten(wish) and not self._written_over(wish, now):
            return
        if now < self._retry_at and self._told is None:
            return
        try:
            await self._host.set_resolver(wish)
        except ApplianceError as error:
            self._told, self._retry_at = None, now + RETRY_S
            if wish.nameservers or error.code != "helper-away":  # where no helper is, nothing was ever set
                self._core.note(os=OsState(error=error.text, mend=error.mend, code=error.code))
            return
        self._told, self._resolved_run = wish, self._files.resolved_run
        over = self._core.state.os.overwritten
        if wish.nameservers:
            await self._host.log(LogLevel.INFO, "host_resolver_set", {"way": str(wish.way)})
            self._core.note(os=OsState(wish.way, wish.search, wish.domains, overwritten=over))
        else:
            self._core.note(os=OsState(overwritten=over))

    def _wish(self) -> ResolverWish:
        """Without nameservers: put back what a run before may have left."""
        state, config = self._core.state, self._core.state.config
        way = choose_way(self._files) if config.os in ("auto", "off") else ResolverWay(config.os)
        routes = self._core.resolver.routes
        split = not state.dns.resolvers and not config.upstreams
        working = any(place.scope is ListenScope.SERVICE and not task.done() for place, task in self._listeners.items())
        if config.os == "off" or not working or not (routes.default or (split and way is ResolverWay.RESOLVED)):
            return ResolverWish(way)
        names = self._core.names
        return make_wish(way, names.search, (*names.zones, *routes.suffixes), split=split, versions=state.versions())

    def _forgotten(self, wish: ResolverWish) -> bool:
        """Whether systemd-resolved has been started anew since it was told."""
        asked = bool(wish.nameservers) and wish.way is ResolverWay.RESOLVED
        return asked and self._files.resolved_run != self._resolved_run

    def _written_over(self, wish: ResolverWish | None, now: float) -> bool:
        """Whether somebody else has written the file since we did; how often is told as long as it goes on."""
        os = self._core.state.os
        if os.overwritten and now - self._overwritten_at > QUIET_S:
            self._core.note(os=replace(os, overwritten=0))
        if wish is None or not wish.nameservers or wish.way is not ResolverWay.FILE or self._files.ours:
            return False
        self._overwritten_at = now
        self._core.note(os=replace(self._core.state.os, overwritten=self._core.state.os.overwritten + 1))
        return True

    async def _give_back(self) -> None:
        if self._told is not None and self._told.nameservers:
            with suppress(ApplianceError):
                await self._host.set_resolver(ResolverWish(self._told.way))
            self._told = None


def _usable(given: Sequence[DnsUpstream], wrong: list[str]) -> tuple[Upstream, ...]:
    found: list[Upstream] = []
    for each in given:
        try:
            found.append(parse_upstream(each.address))
        except UpstreamSettingError:
            wrong.append(each.address)
    return tuple(dict.fromkeys(found))


def _place_text(place: ListenPlace) -> str:
    return f"[{place.address}]:{place.port}" if ":" in place.address else f"{place.address}:{place.port}"


def _shown(state: DnsState) -> DnsState:
    """What a health check or a person would see change; counters change all the time."""
    upstreams = tuple(
        UpstreamState(each.name, untrusted=each.untrusted, looping=each.looping) for each in state.upstreams
    )
    return replace(state, counters={}, upstreams=upstreams, cached_entries=0, failing_s=float(state.failing_s > 0))
