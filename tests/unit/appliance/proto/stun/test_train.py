from __future__ import annotations

import pytest

from appliance.proto.stun import (
    PACKET_BYTES,
    TRAIN_REQUEST_SIZE,
    TrainRequest,
    encode_large_request,
    encode_request,
    encode_response,
    encode_ticket,
    encode_train_packet,
    encode_train_request,
    parse_request,
    parse_response,
    parse_train_request,
)
from appliance.proto.stun.train import MOST_PACKETS, NO_TICKET
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError

TX = bytes(range(12))
TICKET = b"t" * 16
HOSTS = pytest.mark.parametrize("mapped", [AddrPort("192.0.2.7", 51820), AddrPort("2001:db8::7", 51820)])


def test_ok__large_request_is_an_ordinary_one() -> None:
    request = encode_large_request(TX)
    assert len(request) == PACKET_BYTES
    assert parse_request(request) == TX
    assert int.from_bytes(request[2:4], "big") == PACKET_BYTES - 20


@pytest.mark.parametrize(("ticket", "packets"), [(NO_TICKET, 0), (TICKET, 1), (TICKET, MOST_PACKETS)])
def test_ok__request_for_a_train(ticket: bytes, packets: int) -> None:
    request = encode_train_request(TX, ticket, packets)
    assert len(request) == TRAIN_REQUEST_SIZE
    assert parse_train_request(request) == TrainRequest(TX, ticket, packets)
    assert parse_request(request) == TX, "other servers take it for an ordinary one"


@HOSTS
def test_ok__ticket_is_no_longer_than_the_request(mapped: AddrPort) -> None:
    answer = encode_ticket(TX, mapped, TICKET)
    assert len(answer) <= TRAIN_REQUEST_SIZE
    assert (parse_response(answer).mapped, parse_response(answer).ticket) == (mapped, TICKET)
    assert parse_response(encode_response(TX, mapped)).ticket == b""


@HOSTS
def test_ok__train_packet(mapped: AddrPort) -> None:
    packet = encode_train_packet(TX, mapped)
    assert len(packet) == PACKET_BYTES
    assert (parse_response(packet).tx_id, parse_response(packet).mapped) == (TX, mapped)


@pytest.mark.parametrize(
    "packet",
    [
        encode_request(TX),
        encode_train_request(TX, TICKET, 0),
        encode_train_request(TX, NO_TICKET, 1),
        encode_train_request(TX, TICKET, MOST_PACKETS + 1),
        encode_train_request(TX, TICKET, 1)[:-1] + b"\x00",
        encode_ticket(TX, AddrPort("192.0.2.7", 1), TICKET),
    ],
    ids=["ordinary", "no packets", "no ticket", "too many", "fingerprint", "answer"],
)
def test_fail__no_request_for_a_train(packet: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_train_request(packet)
