"""Head drop and fairness of what waits for one client (derp spec 3.3)."""

from __future__ import annotations

from control.derp.metrics import DerpMetrics, DropReason
from control.derp.outbox import CHUNK_BYTES, MAX_CONTROL, Outbox


def test_ok__full_queue_loses_its_oldest_and_spares_the_other() -> None:
    metrics = DerpMetrics()
    box = Outbox(metrics)
    box.add_packet(b"disco;", True)
    for number in range(34):
        box.add_packet(b"%d;" % number, False)
    assert box.is_full(False)
    assert not box.is_full(True)
    sent = box.take().split(b";")[:-1]
    assert sent == [b"disco", *[b"%d" % number for number in range(2, 34)]]
    assert metrics.dropped == {(DropReason.QUEUE_HEAD, "other"): 2}
    assert metrics.packets_sent == 33
    assert not box


def test_ok__control_goes_first_and_both_queues_in_turn() -> None:
    box = Outbox(DerpMetrics())
    for frame, is_disco in ((b"o1 ", False), (b"o2 ", False), (b"d1 ", True), (b"d2 ", True)):
        box.add_packet(frame, is_disco)
    box.add_control(b"c ")
    assert box.take() == b"c d1 o1 d2 o2 "


def test_ok__writes_are_of_bounded_size() -> None:
    box = Outbox(DerpMetrics())
    for _ in range(32):
        box.add_packet(bytes(60_000), False)
    assert CHUNK_BYTES <= len(box.take()) < CHUNK_BYTES + 60_000
    assert box


def test_ok__abandoned_packets_are_counted() -> None:
    metrics = DerpMetrics()
    box = Outbox(metrics)
    box.add_packet(b"x", True)
    box.abandon()
    assert not box
    assert metrics.dropped[DropReason.GONE_DISCONNECTED, "disco"] == 1
    assert metrics.snapshot()['packets_dropped{reason="gone_disconnected",kind="disco"}'] == 1


def test_fail__too_many_control_frames() -> None:
    box = Outbox(DerpMetrics())
    assert all(box.add_control(b"") for _ in range(MAX_CONTROL))
    assert not box.add_control(b"")
