"""The twin of an exit's datagrams."""

from appliance.ports.exit_datagrams import MemoryExitDatagrams, TakenDatagram
from appliance.types.addresses import AddrPort

USER, GOAL = AddrPort("100.64.0.9", 5000), AddrPort("203.0.113.2", 443)


def test_ok__taken_and_answered():
    twin, calls = MemoryExitDatagrams(), []
    twin.take(USER, GOAL, b"early")
    twin.set_reader(lambda: calls.append(1))
    twin.take(USER, GOAL, b"later")
    assert len(calls) == 2
    assert twin.receive(1) == [TakenDatagram(USER, GOAL, b"early")]
    assert twin.receive() == [TakenDatagram(USER, GOAL, b"later")]
    assert twin.answer(GOAL, USER, b"hello")
    assert twin.answered == [(GOAL, USER, b"hello")]


def test_fail__another_ip_version_or_closed():
    twin = MemoryExitDatagrams()
    assert not twin.answer(AddrPort("2001:db8::2", 1), USER, b"x")
    twin.close()
    assert not twin.answer(GOAL, USER, b"x")
    assert twin.answered == []
