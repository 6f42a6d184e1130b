import pytest

from appliance.ports.side_ports import MemorySidePorts, NoSidePorts
from appliance.types.addresses import AddrPort

THERE = AddrPort("192.0.2.1", 1)


def test_ok__twin_keeps_what_it_is_given():
    side, heard = MemorySidePorts(limit=2), []
    side.set_receiver(lambda *what: heard.append(what))
    a, b = side.open(5)
    assert side.open(1) == []
    side.send(a.number, THERE, b"x")
    side.deliver(b.number, THERE, b"y")
    side.close((a.number, b.number))
    side.send(a.number, THERE, b"late")
    side.deliver(b.number, THERE, b"late")
    assert side.sent == [(a.number, THERE, b"x")]
    assert heard == [(b.number, THERE, b"y")]


def test_fail__refusal():
    side = MemorySidePorts()
    side.refusal = OSError(105, "no buffers")
    with pytest.raises(OSError, match="no buffers"):
        side.send(1, THERE, b"x")


def test_ok__none_to_be_had():
    side = NoSidePorts()
    side.set_receiver(lambda *_: None)
    assert side.open(5) == ()
    side.send(1, THERE, b"x")
    side.close((1,))
