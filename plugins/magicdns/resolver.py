"""From a query to its reply: names of here, the cache, one question upstream for all who ask it at once."""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from enum import StrEnum

from appliance.proto.dns import Answer, Query, Reply, build_reply, encode_name, truncated
from appliance.proto.dns.build import UDP_BYTES
from appliance.proto.dns.numbers import (
    AAAA,
    AXFR,
    BADVERS,
    CD,
    CNAME,
    IN,
    NOERROR,
    NOTIMP,
    REFUSED,
    SERVFAIL,
    TXT,
    A,
)
from plugins.magicdns.cache import Cache, Entry, key_of, make_entry
from plugins.magicdns.errors import UpstreamError
from plugins.magicdns.forward import Forwarder, Question
from plugins.magicdns.loops import Loops, Way
from plugins.magicdns.rebind import rebinds
from plugins.magicdns.routes import RouteTable
from plugins.magicdns.rules import LocalAnswer, LocalNames
from plugins.magicdns.upstream import Upstream

MAX_FLIGHTS = 256
MAX_ALIASES = 8
STALE_AFTER_S = 1.8
"""How long a client waits for a resolver before it gets an answer that ran out (RFC 8767 section 5)."""
SILENT_S = 0.5
"""Resolvers that are silent for so long may be asking us back: that is looked at."""
LOOK_AGAIN_S = 10.0
"""How often those that asked us back are looked at, to be used again."""
_IXFR = 251
_FOLLOWED = frozenset({A, AAAA, TXT})
"""Types whose data holds no names, so that an alias's records can be passed on as they are."""


class Client(StrEnum):
    """Who asks."""

    HOST = "host"
    SITE = "site"


@dataclass(slots=True)
class Counters:
    queries: int = 0
    local: int = 0
    cached: int = 0
    forwarded: int = 0
    joined: int = 0
    stale: int = 0
    failed: int = 0
    rebinding_refused: int = 0
    malformed: int = 0
    refused: int = 0
    too_many: int = 0

    def items(self) -> list[tuple[str, int]]:
        return [(each.name, getattr(self, each.name)) for each in fields(self)]


@dataclass(slots=True)
class Protection:
    """Against rebinding, for clients of the site."""

    on: bool = True
    allowed: tuple[str, ...] = ()


@dataclass(slots=True)
class _Flight:
    """One question on its way to resolvers. `limit` ends the wait for those that are asked now."""

    suffix: str
    upstreams: Sequence[Upstream]
    result: asyncio.Future[Entry | None]
    limit: asyncio.Timeout | None = None

    def leave(self, way: Way) -> None:
        """Do not wait for one that hands questions back."""
        suffix, upstream = way
        if self.limit is not None and suffix == self.suffix and upstream in self.upstreams:
            self.limit.reschedule(0)
            self.limit = None


Observer = Callable[[str, Reply], None]
"""`observer(name, reply)`: an answer of an upstream resolver to a question of a client."""


@dataclass
class Resolver:
    """`clock` gives monotonic seconds, `wall` Unix time. Call `run` before anything is asked that is not local."""

    names: LocalNames
    forwarder: Forwarder
    clock: Callable[[], float]
    wall: Callable[[], float]
    cache: Cache = field(default_factory=lambda: Cache(10_000, 86_400))
    routes: RouteTable = field(default_factory=RouteTable)
    protection: Protection = field(default_factory=Protection)
    counters: Counters = field(default_factory=Counters)
    observers: list[Observer] = field(default_factory=list)
    loops: Loops = field(init=False)
    _flights: dict[object, _Flight] = field(default_factory=dict)
    _group: asyncio.TaskGroup | None = None

    def __post_init__(self) -> None:
        self.loops = Loops(self.forwarder, self.clock, secrets.token_hex(8))

    async def run(self) -> None:
        """Until cancelled: carries the questions to other resolvers."""
        try:
            async with asyncio.TaskGroup() as self._group:
                while True:
                    await asyncio.sleep(LOOK_AGAIN_S)
                    await self.loops.look(tuple(self.loops.found))
        finally:
            self._group = None
            self._flights.clear()

    def set_routes(self, routes: RouteTable) -> None:
        if routes != self.routes:
            self.routes = routes
            self.cache.clear()
            self.loops.forget()
            self.forwarder.keep_only(routes.upstreams)

    # --- answers

    def quick(self, query: Query, client: Client) -> bytes | None:
        """The reply where nobody else must be asked, else None."""
        self.counters.queries += 1
        now = self.clock()
        if query.qclass == IN and (query.edns is None or not query.edns.version):
            entry = self.cache.fresh(key_of(query), now)
            if entry is not None:
                self.counters.cached += 1
                return self._given(entry, query, client, now)
        if (error := self._refusal(query)) is not None:
            self.counters.refused += 1
            return build_reply(query, error, authoritative=False)
        local = self.names.lookup(query.name, query.qtype)
        if local is None or local.target:
            return None
        self.counters.local += 1
        return self._local(query, local)

    async def answer(self, query: Query, client: Client, *, stream: bool = False) -> bytes:
        """The reply after `quick` gave none; takes up to ten seconds."""
        local = self.names.lookup(query.name, query.qtype)
        if local is not None:
            self.counters.local += 1
            return self._local(query, await self._followed(local, query, client))
        entry = await self._entry(query, client, stream)
        if entry is None:
            self.counters.failed += 1
            return build_reply(query, SERVFAIL, authoritative=False)
        return self._given(entry, query, client, self.clock())

    def fitting(self, query: Query, reply: bytes, client: Client) -> bytes:
        """The reply as one datagram; to hosts of the site no larger than every path takes."""
        limit = query.udp_limit if client is Client.HOST else min(query.udp_limit, UDP_BYTES)
        return reply if len(reply) <= limit else truncated(query, reply)

    def _refusal(self, query: Query) -> int | None:
        if query.edns is not None and query.edns.version:
            return BADVERS
        if query.qclass != IN or query.qtype == _IXFR:
            return REFUSED
        name = query.name
        if self.loops.is_ours(name):
            self._leave(self.loops.came_back(name))
            return REFUSED
        if query.qtype == AXFR and self.names.lookup(name, AXFR) is None:
            return NOTIMP
        return None

    def _local(self, query: Query, found: LocalAnswer) -> bytes:
        return build_reply(query, found.rcode, found.answers, found.authority(int(self.wall())))

    def _given(self, entry: Entry, query: Query, client: Client, now: float) -> bytes:
        if entry.private and client is Client.SITE and self.protection.on:
            self.counters.rebinding_refused += 1
            return build_reply(query, NOERROR, authoritative=False)
        return entry.render(query, now)

    # --- aliases among the names of here

    async def _followed(self, local: LocalAnswer, query: Query, client: Client) -> LocalAnswer:
        answers, target, rcode = list(local.answers), local.target, local.rcode
        for _ in range(MAX_ALIASES):
            if not target or query.qtype not in _FOLLOWED:
                break
            found = self.names.lookup(target, query.qtype)
            if found is None:
                more, rcode = await self._foreign(target, query, client)
                answers += more
                break
            answers += [Answer(each.rtype, each.data, each.ttl, each.owner or target) for each in found.answers]
            target, rcode = found.target, found.rcode
        return LocalAnswer(rcode, tuple(answers), local.zone)

    async def _foreign(self, target: str, query: Query, client: Client) -> tuple[list[Answer], int]:
        """Records of an alias's target that others know."""
        question = encode_name(target) + struct.pack(">HH", query.qtype, IN)
        asked = Query(0, query.flags, question, question, query.qtype, IN, query.edns)
        entry = await self._entry(asked, client, stream=True)
        if entry is None:
            return [], SERVFAIL
        if entry.private and client is Client.SITE and self.protection.on:
            return [], NOERROR
        reply = entry.reply
        answers = [Answer(CNAME, encode_name(alias), 5, owner) for owner, alias in reply.targets()]
        answers += [
            Answer(each.rtype, reply.data[each.data_at : each.data_at + each.length], each.ttl, each.owner)
            for each in reply.answers()
            if each.rtype == query.qtype
        ]
        return answers, reply.rcode

    # --- other resolvers

    async def _entry(self, query: Query, client: Client, stream: bool) -> Entry | None:
        key, now = key_of(query), self.clock()
        if (fresh := self.cache.fresh(key, now)) is not None:
            return fresh
        stale = self.cache.stale(key, now)
        if client is Client.SITE and not self.routes.serves_site(query.name):
            return stale
        flight = self._flight(query, stream)
        if flight is None:
            self.counters.too_many += 1
            return stale
        if stale is None:
            return await asyncio.shield(flight)
        found: Entry | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(STALE_AFTER_S):
                found = await asyncio.shield(flight)
        if found is None or found.reply.rcode in (SERVFAIL, REFUSED):
            self.counters.stale += 1
            return stale
        return found

    def _flight(self, query: Query, stream: bool) -> asyncio.Future[Entry | None] | None:
        key = key_of(query)
        if (running := self._flights.get(key)) is not None:
            self.counters.joined += 1
            return running.result
        if self._group is None or len(self._flights) >= MAX_FLIGHTS:
            return None
        self.counters.forwarded += 1
        flight = _Flight(*self.routes.find(query.name), asyncio.get_running_loop().create_future())
        self._flights[key] = flight
        self._group.create_task(self._fly(query, stream, flight))
        return flight.result

    async def _fly(self, query: Query, stream: bool, flight: _Flight) -> None:
        key, name = key_of(query), query.name
        entry: Entry | None = None
        try:
            question = Question(query.question, query.key, query.dnssec_ok, bool(query.flags & CD), stream)
            reply = await self._asked(flight, question)
            private = not flight.suffix and rebinds(reply, name, self.protection.allowed)
            entry = make_entry(reply, self.clock(), private=private)
            if "." in name:  # a name of one label may become a node's at any time
                self.cache.put(key, entry, self.clock())
            for observer in self.observers:
                observer(name, reply)
        except UpstreamError:
            pass  # who waits is told by the result; the forwarder keeps the reason
        finally:
            self._flights.pop(key, None)
            if not flight.result.done():
                flight.result.set_result(entry)

    async def _asked(self, flight: _Flight, question: Question) -> Reply:
        """While nobody answers, loops are looked for; then only those are waited for that hand nothing back."""
        doubt = asyncio.get_running_loop().call_later(SILENT_S, self._doubt, flight)
        try:
            while True:
                flight.upstreams = self.loops.usable(flight.suffix, flight.upstreams)
                with suppress(TimeoutError):
                    async with asyncio.timeout(None) as flight.limit:
                        reply = await self.forwarder.ask(flight.upstreams, question)
                        if reply.rcode in (SERVFAIL, REFUSED):
                            self._doubt(flight)
                        return reply
        finally:
            flight.limit = None
            doubt.cancel()

    # --- resolvers that ask us back

    async def find_loops(self) -> None:
        """Look at all resolvers."""
        routes = self.routes
        await self.loops.look(
            (suffix, each) for suffix, found in (("", routes.default), *routes.suffixes.items()) for each in found
        )

    def _doubt(self, flight: _Flight) -> None:
        due = self.loops.due(flight.suffix, flight.upstreams)
        if due and self._group is not None:
            self._group.create_task(self.loops.look(due))

    def _leave(self, way: Way | None) -> None:
        if way is not None:
            for flight in self._flights.values():
                flight.leave(way)
