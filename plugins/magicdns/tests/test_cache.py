"""The cache on a clock of the test's own."""

from __future__ import annotations

import dns.message
import dns.rrset
import pytest

from appliance.proto.dns import Query, parse_query, parse_reply
from plugins.magicdns.cache import FAILURE_S, NO_SOA_S, STALE_TTL_S, Cache, key_of, lifetime_s, make_entry


def ask(name: str = "www.example", **options: object) -> Query:
    return parse_query(dns.message.make_query(name, "A", **options).to_wire())


def answer(name: str = "www.example", ttl: int = 60, rcode: int = 0, soa: bool = False, empty: bool = False) -> bytes:
    reply = dns.message.make_response(dns.message.make_query(name, "A"))
    reply.set_rcode(rcode)
    if not empty and not rcode:
        reply.answer.append(dns.rrset.from_text(f"{name}.", ttl, "IN", "A", "192.0.2.1"))
    if soa:
        reply.authority.append(dns.rrset.from_text("example.", 900, "IN", "SOA", "n. x. 1 2 3 4 40"))
    return reply.to_wire()


def put(cache: Cache, wire: bytes, query: Query, now: float) -> None:
    cache.put(key_of(query), make_entry(parse_reply(wire), now), now)


def test_ok__given_with_the_clients_own_question() -> None:
    cache, query = Cache(10, 100), ask("wWw.eXample", use_edns=0)
    put(cache, answer(), ask(), 1000.0)
    entry = cache.fresh(key_of(query), 1010.5)
    assert entry is not None
    read = dns.message.from_wire(entry.render(query, 1010.5))
    assert (read.id, read.question[0].name.to_text(), read.answer[0].ttl, read.edns) == (
        query.id,
        "wWw.eXample.",
        50,
        0,
    )
    assert dns.message.from_wire(entry.render(ask(), 1010.5)).edns == -1


def test_ok__runs_out_and_is_given_for_want_of_better() -> None:
    cache, key = Cache(10, 100), key_of(ask())
    put(cache, answer(), ask(), 1000.0)
    assert cache.fresh(key, 1059.9) is not None
    assert cache.fresh(key, 1060.0) is None
    stale = cache.stale(key, 1159.0)
    assert stale is not None
    assert dns.message.from_wire(stale.render(ask(), 1159.0)).answer[0].ttl == STALE_TTL_S
    assert cache.stale(key, 1160.0) is None


def test_ok__a_failure_does_not_drive_out_an_answer() -> None:
    cache, key = Cache(10, 100), key_of(ask())
    put(cache, answer(), ask(), 1000.0)
    put(cache, answer(rcode=2), ask(), 1070.0)
    assert cache.stale(key, 1071.0) is not None
    put(cache, answer("b.example", rcode=2), ask("b.example"), 1070.0)
    assert cache.fresh(key_of(ask("b.example")), 1071.0) is not None
    assert cache.stale(key_of(ask("b.example")), 1075.0) is None


@pytest.mark.parametrize(
    ("wire", "seconds"),
    [
        (answer(ttl=7), 7),
        (answer(ttl=10_000_000), 86_400),
        (answer(rcode=3, soa=True), 40),
        (answer(empty=True, soa=True), 40),
        (answer(rcode=3), NO_SOA_S),
        (answer(rcode=2), FAILURE_S),
        (answer(ttl=0), 0),
    ],
    ids=range(7),
)
def test_ok__lifetimes(wire: bytes, seconds: float) -> None:
    assert lifetime_s(parse_reply(wire)) == seconds


def test_ok__dnssec_and_plain_answers_are_kept_apart() -> None:
    cache = Cache(10, 100)
    put(cache, answer(), ask(), 0.0)
    assert cache.fresh(key_of(ask(use_edns=0, want_dnssec=True)), 1.0) is None


def test_ok__bounded_the_least_used_goes() -> None:
    cache = Cache(2, 100)
    for name in ("a.example", "b.example"):
        put(cache, answer(name), ask(name), 0.0)
    cache.fresh(key_of(ask("a.example")), 1.0)
    put(cache, answer("c.example"), ask("c.example"), 1.0)
    assert cache.fresh(key_of(ask("b.example")), 1.0) is None
    assert cache.fresh(key_of(ask("a.example")), 1.0) is not None
    cache.resize(0, 0)
    assert len(cache) == 0
    put(cache, answer(), ask(), 0.0)
    assert len(cache) == 0
