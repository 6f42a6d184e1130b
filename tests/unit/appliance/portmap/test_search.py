from __future__ import annotations

from appliance.portmap.mapping import Kind
from appliance.portmap.search import REPEAT_S, SEARCH_S, RouterSearch
from tests.unit.appliance.portmap.twin_router import PLACE, START


def test_ok__every_protocol_is_asked_the_router_before_the_group() -> None:
    search = RouterSearch(PLACE, tuple(Kind), START)
    sent = search.handle_timer(START)
    assert [(str(item.to), item.data[:1]) for item in sent] == [
        ("192.168.1.1:5351", b"\0"),
        ("192.168.1.1:5351", b"\2"),
        ("192.168.1.1:1900", b"M"),
        ("239.255.255.250:1900", b"M"),
        ("239.255.255.250:1900", b"M"),
    ]


def test_ok__only_who_was_silent_is_asked_again() -> None:
    search = RouterSearch(PLACE, (Kind.PCP, Kind.NAT_PMP), START)
    search.handle_timer(START)
    search.seen.add(Kind.PCP)
    again = search.handle_timer(START + REPEAT_S[1])
    assert [item.data for item in again] == [b"\0\0"]
    assert search.handle_timer(START + REPEAT_S[1]) == []


def test_ok__done_when_all_answered_or_time_is_over() -> None:
    search = RouterSearch(PLACE, (Kind.PCP,), START)
    assert not search.done(START)
    assert search.done(START + SEARCH_S)
    search.unusable.add(Kind.PCP)
    assert search.done(START)
    assert search.next_timer() == START
