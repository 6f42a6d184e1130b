"""Who gets a train; that it comes is tested in test_server.py."""

from __future__ import annotations

import pytest

from appliance.proto.stun import PACKET_BYTES, TrainRequest, parse_response
from appliance.proto.stun.train import NO_TICKET
from appliance.types.addresses import AddrPort
from control.stun.trains import BURST_BYTES, BYTES_PER_S, PERIOD_S, Tickets

TX = bytes(range(12))
SOURCE = AddrPort("192.0.2.7", 51820)


def shown(tickets: Tickets, now: float, tx_id: bytes = TX, packets: int = 32) -> TrainRequest:
    """A request with the ticket that is given now."""
    given = tickets.ticket(TrainRequest(tx_id, NO_TICKET, 0), SOURCE, now)
    return TrainRequest(tx_id, parse_response(given).ticket, packets)


@pytest.mark.parametrize("later", [0.0, PERIOD_S - 0.1, 2 * PERIOD_S - 0.1])
def test_ok__train_for_a_ticket(later: float) -> None:
    tickets = Tickets(bytes(32))
    packet = tickets.train(shown(tickets, 100.0), SOURCE, 100.0 + later)
    assert packet is not None
    assert parse_response(packet).mapped == SOURCE


@pytest.mark.parametrize(
    ("tx_id", "source", "later"),
    [
        (b"x" * 12, SOURCE, 0.0),
        (TX, AddrPort("192.0.2.8", 51820), 0.0),
        (TX, AddrPort("192.0.2.7", 51821), 0.0),
        (TX, SOURCE, 2.0 * PERIOD_S),
    ],
    ids=["other request", "other address", "other port", "too old"],
)
def test_fail__ticket_of_another(tx_id: bytes, source: AddrPort, later: float) -> None:
    tickets = Tickets(bytes(32))
    request = TrainRequest(tx_id, shown(tickets, 100.0).ticket, 32)
    assert tickets.train(request, source, 100.0 + later) is None
    assert Tickets(b"s" * 32).train(shown(tickets, 100.0), SOURCE, 100.0) is None, "another server's"


@pytest.mark.parametrize("later", [0.0, PERIOD_S - 0.1, PERIOD_S, 2 * PERIOD_S - 0.1])
def test_fail__twice_by_one_ticket(later: float) -> None:
    tickets = Tickets(bytes(32))
    request = shown(tickets, 100.0)
    assert tickets.train(request, SOURCE, 100.0) is not None
    assert tickets.train(request, SOURCE, 100.0 + later) is None


def test_fail__all_together_get_so_much() -> None:
    tickets = Tickets(bytes(32))
    sent, now = 0, 100.0
    for number in range(600):
        now += 0.1
        if tickets.train(shown(tickets, now, number.to_bytes(12, "big"), 256), SOURCE, now) is not None:
            sent += 256 * PACKET_BYTES
    assert BURST_BYTES < sent <= BURST_BYTES + 60 * BYTES_PER_S
