"""The resolver over real sockets, with an upstream that does what each case says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import pytest

from appliance.api import DnsSettings, NetmapChange, NodeInfo, PrefixTranslation
from appliance.proto.dns import Query, parse_query
from plugins.magicdns.forward import Forwarder
from plugins.magicdns.loops import LABEL, TOP
from plugins.magicdns.records import parse_record
from plugins.magicdns.resolver import Client, Resolver
from plugins.magicdns.routes import RouteTable
from plugins.magicdns.rules import LocalNames
from plugins.magicdns.tests.scripted import Scripted, cut_datagrams
from plugins.magicdns.transports import Transports
from plugins.magicdns.upstream import Kind, Upstream

ZONE = {
    ("www.example", "CNAME"): ("web.example.",),
    ("web.example", "A"): ("192.0.2.1",),
    ("evil.example", "A"): ("192.168.1.1",),
    ("big.example", "TXT"): tuple(f'"{number:0200d}"' for number in range(30)),
}


async def nobody(name: str) -> str:
    raise AssertionError(name)


@asynccontextmanager
async def running(*servers: Scripted, suffixes: dict[str, Scripted] | None = None) -> AsyncIterator[Resolver]:
    names = LocalNames()
    names.set_records([parse_record("out.home CNAME www.example", "records")], short_names=True)
    names.set_control(DnsSettings(routes={"mesh.example": ()}), ("mesh.example",))
    names.change(NetmapChange(full=True, self_node=NodeInfo("n1", "gw.mesh.example", ("100.64.0.1",))))
    resolver = Resolver(names, Forwarder(Transports(nobody), time.monotonic), time.monotonic, time.time)
    split = {suffix: (at(server),) for suffix, server in (suffixes or {}).items()}
    resolver.set_routes(RouteTable(split, tuple(at(server) for server in servers)))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(resolver.run())
        await asyncio.sleep(0)
        yield resolver
        task.cancel()


def at(server: Scripted) -> Upstream:
    return Upstream(Kind.PLAIN, "127.0.0.1", server.port)


def question(name: str, rtype: str = "A", **options: object) -> Query:
    return parse_query(dns.message.make_query(name, rtype, **options).to_wire())


async def asked(
    resolver: Resolver, name: str, rtype: str = "A", client: Client = Client.HOST, **options: object
) -> dns.message.Message:
    query = question(name, rtype, **options)
    reply = resolver.quick(query, client)
    return dns.message.from_wire(reply if reply is not None else await resolver.answer(query, client))


def addresses(message: dns.message.Message) -> list[str]:
    return [rdata.address for rrset in message.answer if rrset.rdtype in (1, 28) for rdata in rrset]


async def test_ok__forwarded_once_then_from_the_cache() -> None:
    async with Scripted(ZONE).serving() as server, running(server) as resolver:
        first = await asked(resolver, "WWW.Example")
        assert (addresses(first), first.question[0].name.to_text()) == (["192.0.2.1"], "WWW.Example.")
        assert addresses(await asked(resolver, "www.eXample")) == ["192.0.2.1"]
        assert server.asked == [("WWW.Example", "A", False)], "the letters' case goes upstream as it came"
        assert resolver.counters.cached == 1


async def test_ok__identical_questions_at_once_are_one_upstream() -> None:
    server = Scripted(ZONE)
    server.hold = asyncio.Event()
    async with server.serving(), running(server) as resolver:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asked(resolver, "www.example")) for _ in range(20)]
            while resolver.counters.joined < 19:  # noqa: ASYNC110  # a counter is no event
                await asyncio.sleep(0)
            server.hold.set()
        assert all(addresses(task.result()) == ["192.0.2.1"] for task in tasks)
        assert len(server.asked) == 1


async def test_ok__negative_answers_are_kept() -> None:
    async with Scripted(ZONE).serving() as server, running(server) as resolver:
        for _ in range(2):
            assert (await asked(resolver, "none.example")).rcode() == dns.rcode.NXDOMAIN
            assert not (await asked(resolver, "web.example", "AAAA")).answer
        assert len(server.asked) == 2


async def test_ok__a_cut_datagram_is_fetched_by_tcp() -> None:
    async with Scripted(ZONE, change=cut_datagrams).serving() as server, running(server) as resolver:
        reply = await asked(resolver, "big.example", "TXT")
        assert len(reply.answer[0]) == 30
        assert [stream for _, _, stream in server.asked] == [False, True]
        query = question("big.example", "TXT", use_edns=0, payload=1232)
        whole = resolver.quick(query, Client.HOST)
        assert whole is not None
        cut = dns.message.from_wire(resolver.fitting(query, whole, Client.HOST))
        assert cut.flags & dns.flags.TC
        assert not cut.answer


async def test_ok__a_dead_resolver_costs_little_and_is_asked_last_then() -> None:
    async with (
        Scripted(change=lambda _wire, _stream: None).serving() as dead,
        Scripted(ZONE).serving() as good,
        running(dead, good) as resolver,
    ):
        assert addresses(await asked(resolver, "web.example")) == ["192.0.2.1"]
        assert (await asked(resolver, "none.example")).rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("rcode", [2, 5])
async def test_ok__one_that_fails_is_passed_over(rcode: int) -> None:
    async with (
        Scripted(rcode=rcode).serving() as bad,
        Scripted(ZONE).serving() as good,
        running(bad, good) as resolver,
    ):
        assert addresses(await asked(resolver, "web.example")) == ["192.0.2.1"]
        assert resolver.forwarder.failing_s == 0


async def test_ok__all_fail_the_servfail_counts_before_the_refusal() -> None:
    async with (
        Scripted(rcode=5).serving() as refusing,
        Scripted(rcode=2).serving() as failing,
        running(refusing, failing) as resolver,
    ):
        assert (await asked(resolver, "web.example")).rcode() == dns.rcode.SERVFAIL


async def test_ok__a_shielded_site_has_nobody_outside_asked() -> None:
    async with (
        Scripted(ZONE).serving() as outside,
        Scripted({("db.corp", "A"): ("192.0.2.9",)}).serving() as inside,
        running(outside) as resolver,
    ):
        resolver.set_routes(RouteTable({"corp": (at(inside),)}, (at(outside),), open_to_site=False))
        for name in ("web.example", "out.home"):
            assert (await asked(resolver, name, client=Client.SITE)).rcode() == dns.rcode.SERVFAIL
        assert not outside.asked
        assert addresses(await asked(resolver, "db.corp", client=Client.SITE)) == ["192.0.2.9"]
        assert addresses(await asked(resolver, "web.example")) == ["192.0.2.1"], "this host itself is not shielded"


async def test_fail__nobody_to_ask() -> None:
    async with running() as resolver:
        assert (await asked(resolver, "web.example")).rcode() == dns.rcode.SERVFAIL
        assert resolver.counters.failed == 1


async def test_fail__a_closed_port() -> None:
    async with Scripted().serving() as gone:
        pass
    async with running(gone) as resolver:
        assert (await asked(resolver, "web.example")).rcode() == dns.rcode.SERVFAIL
        assert resolver.forwarder.health[at(gone)].error


@pytest.mark.parametrize("lie", ["id", "question", "garbage", "cut"])
async def test_ok__lies_are_ignored_and_the_truth_waited_for(lie: str) -> None:
    """The first datagram is false; the resolver sends its question again and takes the next."""
    sent: list[bytes] = []

    def change(wire: bytes, _stream: bool) -> bytes:
        sent.append(wire)
        if len(sent) > 1:
            return wire
        other = wire.replace(b"\x03web", b"\x03bad", 1)
        lies = {"id": bytes([wire[0] ^ 1]) + wire[1:], "question": other, "garbage": b"x" * 40, "cut": wire[:20]}
        return lies[lie]

    async with Scripted(ZONE, change=change).serving() as server, running(server) as resolver:
        assert addresses(await asked(resolver, "web.example")) == ["192.0.2.1"]
        assert [each for each in server.asked if LABEL not in each[0]] == [("web.example", "A", False)] * 2


async def test_ok__a_resolver_that_does_not_know_edns() -> None:
    def change(wire: bytes, _stream: bool) -> bytes:
        message = dns.message.from_wire(wire)
        if message.edns < 0:
            return wire
        return wire[:2] + b"\x81\x81" + b"\x00\x01" + bytes(6) + wire[12 : 12 + 17]

    async with Scripted(ZONE, change=change).serving() as server, running(server) as resolver:
        assert addresses(await asked(resolver, "web.example", use_edns=0)) == ["192.0.2.1"]
        assert resolver.forwarder.health[at(server)].no_edns


async def test_ok__split_dns() -> None:
    async with (
        Scripted(ZONE).serving() as world,
        Scripted({("a.corp.example", "A"): ("10.1.1.1",)}).serving() as corp,
        running(world, suffixes={"corp.example": corp}) as resolver,
    ):
        assert addresses(await asked(resolver, "a.corp.example", client=Client.SITE)) == ["10.1.1.1"]
        assert addresses(await asked(resolver, "web.example")) == ["192.0.2.1"]
        assert len(corp.asked) == len(world.asked) == 1


async def test_ok__an_alias_of_here_to_a_name_of_others() -> None:
    async with Scripted(ZONE).serving() as server, running(server) as resolver:
        reply = await asked(resolver, "out.home")
        assert [rrset.to_text() for rrset in reply.answer] == [
            "out.home. 5 IN CNAME www.example.",
            "www.example. 5 IN CNAME web.example.",
            "web.example. 60 IN A 192.0.2.1",
        ]


async def test_ok__hosts_of_the_site_get_no_private_address_for_a_public_name() -> None:
    async with Scripted(ZONE).serving() as server, running(server) as resolver:
        assert not (await asked(resolver, "evil.example", client=Client.SITE)).answer
        assert addresses(await asked(resolver, "evil.example")) == ["192.168.1.1"]
        assert resolver.counters.rebinding_refused == 1
        resolver.protection.on = False
        assert addresses(await asked(resolver, "evil.example", client=Client.SITE)) == ["192.168.1.1"]


async def test_ok__stale_answers_while_nobody_answers() -> None:
    async with Scripted(ZONE, ttl=1).serving() as server, running(server) as resolver:
        await asked(resolver, "web.example")
        later = time.monotonic() + 50
        resolver.clock = lambda: later
        server.rcode = 2
        stale = await asked(resolver, "web.example")
        assert (addresses(stale), stale.answer[0].ttl) == (["192.0.2.1"], 30)
        server.rcode = 0
        resolver.clock = lambda: later + 5
        assert (await asked(resolver, "web.example")).answer[0].ttl == 1


@pytest.mark.parametrize(
    ("name", "rtype", "options", "rcode"),
    [
        ("a.example", "AXFR", {}, dns.rcode.NOTIMP),
        ("a.example", "IXFR", {}, dns.rcode.REFUSED),
        ("a.example", "A", {"rdclass": "CH"}, dns.rcode.REFUSED),
        ("a.example", "A", {"use_edns": 1}, dns.rcode.BADVERS),
    ],
)
async def test_fail__questions_that_are_not_answered(
    name: str, rtype: str, options: dict[str, object], rcode: int
) -> None:
    async with running() as resolver:
        assert (await asked(resolver, name, rtype, **options)).rcode() == rcode


def asking_back(resolver: Resolver, suffix: str = "") -> Callable[[bytes, bool], bytes | None]:
    """An upstream that hands questions below a suffix to us; to those that are not checks it never has an answer."""

    def ask(wire: bytes, _stream: bool) -> bytes | None:
        name = dns.message.from_wire(wire).question[0].name.to_text()
        if not name.endswith(f"{suffix}."):
            return wire
        resolver.quick(question(name, "TXT"), Client.SITE)
        return wire if LABEL in name else None

    return ask


async def test_ok__hosts_of_a_site_learn_translated_addresses_by_the_meshs_names_only() -> None:
    outer = {("evil.example", "A"): ("10.8.1.10",)}
    async with Scripted(outer).serving() as server, running(server) as resolver:
        pair = PrefixTranslation("192.168.1.0/24", "10.8.1.0/24")
        peer = NodeInfo("n2", "b.mesh.example", ("100.64.0.2",), (pair.outside,), translations=(pair,))
        resolver.names.change(NetmapChange(changed=(peer,)))
        assert addresses(await asked(resolver, "192-168-1-10-via-b", client=Client.SITE)) == ["10.8.1.10"]
        assert not (await asked(resolver, "evil.example", client=Client.SITE)).answer
        assert resolver.counters.rebinding_refused == 1


async def test_ok__a_resolver_that_asks_us_back_is_left_out_and_used_again_when_it_is_mended() -> None:
    async with running() as resolver:
        looping = Scripted(ZONE, change=asking_back(resolver))
        async with looping.serving(), Scripted(ZONE).serving() as good:
            resolver.set_routes(RouteTable({}, (at(looping), at(good))))
            await resolver.find_loops()
            assert resolver.loops.found == {("", at(looping))}
            asked_before = len(looping.asked)
            assert addresses(await asked(resolver, "web.example")) == ["192.0.2.1"]
            assert len(looping.asked) == asked_before
            looping.change = lambda wire, _stream: wire
            await resolver.loops.look(tuple(resolver.loops.found))
            assert not resolver.loops.found


async def test_ok__a_loop_that_begins_later_ends_the_wait_at_once() -> None:
    async with Scripted(ZONE).serving() as upstream, running(upstream) as resolver:
        await resolver.find_loops()
        assert not resolver.loops.found
        resolver.loops.forget()  # a while later
        upstream.change = asking_back(resolver)
        started = time.monotonic()
        waiting = [asyncio.ensure_future(asked(resolver, f"{number}.example")) for number in range(3)]
        assert {(await each).rcode() for each in waiting} == {dns.rcode.SERVFAIL}
        assert time.monotonic() - started < 5, "long before the resolver's time is up"
        assert resolver.loops.found == {("", at(upstream))}
        assert (await asked(resolver, "4.example")).rcode() == dns.rcode.SERVFAIL


async def test_ok__a_resolver_may_know_one_suffix_and_hand_back_all_others() -> None:
    async with running() as resolver:
        server = Scripted(ZONE, change=asking_back(resolver, "alt"))
        async with server.serving():
            resolver.set_routes(RouteTable({"example": (at(server),)}, (at(server),)))
            await resolver.find_loops()
            assert resolver.loops.found == {("", at(server))}
            assert addresses(await asked(resolver, "web.example")) == ["192.0.2.1"]
            assert (await asked(resolver, "other.test")).rcode() == dns.rcode.SERVFAIL


async def test_ok__another_gateways_look_goes_on_to_find_long_ways() -> None:
    async with Scripted(ZONE).serving() as server, running(server) as resolver:
        name = f"0123-1.{LABEL}.{TOP}"
        assert (await asked(resolver, name, "TXT")).rcode() == dns.rcode.NXDOMAIN
        assert server.asked == [(name, "TXT", False)]


async def test_ok__answers_are_shown_to_observers() -> None:
    seen: list[tuple[str, list[str]]] = []
    async with Scripted(ZONE).serving() as server, running(server) as resolver:
        resolver.observers.append(lambda name, reply: seen.append((name, [str(a) for _, a, _ in reply.addresses()])))
        await asked(resolver, "www.example")
        await asked(resolver, "www.example")
    assert seen == [("www.example", ["192.0.2.1"])]
