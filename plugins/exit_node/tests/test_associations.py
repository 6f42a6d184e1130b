from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.types.addresses import AddrPort
from plugins.exit_node.associations import (
    IDLE_S,
    MAX_ASSOCIATIONS,
    MAX_GOALS,
    MAX_PER_HOST,
    MAX_WAITING,
    QUESTION_IDLE_S,
    RETRY_S,
    Association,
    Associations,
)
from plugins.exit_node.proto import parse_datagram

USER, GOAL, RESOLVER = AddrPort("100.64.0.9", 5000), AddrPort("203.0.113.2", 443), AddrPort("203.0.113.53", 53)


def added(table: Associations, user: AddrPort = USER, now: float = 0.0) -> Association:
    made, former = table.add(user, now)
    assert made is not None
    assert former is None
    return made


def test_ok__one_for_each_socket_that_hears_whom_it_asked() -> None:
    table = Associations()
    assert table.find(USER, 0.0) is None
    made = added(table)
    assert parse_datagram(made.wrapped(GOAL, b"hello")) == (GOAL, b"hello")
    assert table.find(USER, 1.0) is made
    assert made.hears(GOAL)
    assert not made.hears(AddrPort(GOAL.ip, 444))
    assert table.find(AddrPort(USER.ip, 5001), 1.0) is None


def test_ok__idle_ones_go_and_questions_sooner() -> None:
    table = Associations()
    talk, question = added(table), added(table, AddrPort(USER.ip, 5001))
    talk.wrapped(GOAL, b"")
    talk.wrapped(RESOLVER, b"")
    question.wrapped(RESOLVER, b"")
    assert table.take_idle(QUESTION_IDLE_S - 0.1) == []
    assert table.take_idle(QUESTION_IDLE_S) == [question]
    assert table.find(USER, 100.0) is talk, "used again"
    assert table.take_idle(100.0 + IDLE_S - 0.1) == []
    assert table.take_idle(100.0 + IDLE_S) == [talk]
    assert len(table) == 0


def test_ok__an_ended_one_is_not_tried_again_at_once() -> None:
    table = Associations()
    made = added(table)
    assert made.wait(made.wrapped(GOAL, b"x"))
    table.end(made, 10.0)
    assert made.waiting == []
    assert table.find(USER, 11.0) is made
    assert table.take_idle(10.0 + RETRY_S - 0.1) == []
    assert table.take_idle(10.0 + RETRY_S) == [made]


def test_ok__a_host_with_many_loses_its_longest_unused_one() -> None:
    table = Associations()
    first, second, *_ = [added(table, AddrPort(USER.ip, port)) for port in range(1, MAX_PER_HOST + 1)]
    assert table.find(first.user, 1.0) is first
    made, former = table.add(USER, 1.0)
    assert made is not None
    assert former is second
    assert table.find(second.user, 1.0) is None
    assert len(table) == MAX_PER_HOST


def test_fail__no_room_for_another_host() -> None:
    table = Associations()
    for number in range(MAX_ASSOCIATIONS):
        added(table, AddrPort(f"100.64.1.{number // MAX_PER_HOST}", number + 1))
    assert table.add(USER, 0.0) == (None, None)
    made, former = table.add(AddrPort("100.64.1.0", 9999), 0.0)
    assert made is not None
    assert former is not None
    assert former.user.ip == "100.64.1.0", "at its own cost"
    assert len(table.take_idle(QUESTION_IDLE_S)) == MAX_ASSOCIATIONS
    added(table)


def test_fail__places_and_waiting_datagrams_are_bounded() -> None:
    made = Association(USER, 0.0)
    places = [AddrPort("203.0.113.2", port) for port in range(1, MAX_GOALS + 2)]
    for place in places:
        made.wrapped(place, b"")
    assert not made.hears(places[0])
    assert all(made.hears(place) for place in places[1:])
    assert [made.wait(b"x") for _ in range(MAX_WAITING + 1)] == [True] * MAX_WAITING + [False]


STEPS = st.tuples(st.sampled_from(["find", "add", "end", "idle"]), st.integers(1, 5), st.floats(0, 50))


@given(st.lists(STEPS, max_size=60))
def test_ok__it_counts_what_it_holds(steps: list[tuple[str, int, float]]) -> None:
    table, now = Associations(), 0.0
    held: dict[AddrPort, Association] = {}
    for step, port, seconds in steps:
        now += seconds
        user = AddrPort(USER.ip, port)
        if step == "idle":
            for each in table.take_idle(now):
                assert held.pop(each.user) is each
        elif step == "add" and user not in held:
            held[user] = added(table, user, now)
        elif (found := table.find(user, now)) is not None and step == "end":
            table.end(found, now)
        assert len(table) == len(held)
        assert table.find(user, now) is held.get(user)
