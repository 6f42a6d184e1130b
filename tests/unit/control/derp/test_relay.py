"""The registry forgets what ended, so that nothing grows for ever (derp spec 3.7, 3.8)."""

from __future__ import annotations

from dataclasses import dataclass, field

from control.derp.metrics import DerpMetrics
from control.derp.relay import Relay


@dataclass(eq=False)
class Inbox:
    raw_key: bytes
    heard: set[bytes] = field(default_factory=set)
    got: list[bytes] = field(default_factory=list)

    def enqueue(self, frame: bytes, is_disco: bool) -> None:
        self.got.append(frame)

    def enqueue_control(self, frame: bytes) -> None:
        self.got.append(frame)

    def allow_peer_gone(self) -> bool:
        return True


def test_ok__receiver_first_sender_first_leaves_nothing() -> None:
    for first in (0, 1):
        relay = Relay(DerpMetrics())
        pair = [Inbox(b"\x01" * 32), Inbox(b"\x02" * 32)]
        for inbox in pair:
            relay.register(inbox)
        relay.forward(pair[0], pair[1].raw_key + b"hi")
        assert pair[1].got == [b"\x05\x00\x00\x00\x22" + pair[0].raw_key + b"hi"]
        relay.unregister(pair[first])
        relay.unregister(pair[1 - first])
        assert len(pair[1].got) == (2 if first == 0 else 1)
        assert not relay._peers
        assert not relay._interested


def test_ok__sender_that_returns_is_announced_again() -> None:
    relay = Relay(DerpMetrics())
    receiver = Inbox(b"\x02" * 32)
    relay.register(receiver)
    for _ in range(2):
        sender = Inbox(b"\x01" * 32)
        relay.register(sender)
        relay.forward(sender, receiver.raw_key + b"hi")
        relay.unregister(sender)
    gone = b"\x08\x00\x00\x00\x21" + b"\x01" * 32 + b"\x00"
    assert [frame == gone for frame in receiver.got] == [False, True, False, True]


def test_ok__wireguard_to_a_stranger_is_silent() -> None:
    relay = Relay(DerpMetrics())
    sender = Inbox(b"\x01" * 32)
    relay.register(sender)
    relay.forward(sender, bytes(32) + b"\x04" + bytes(100))
    assert sender.got == []
