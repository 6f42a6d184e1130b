import pytest

from appliance.proto.wireguard.messages import (
    CookieReply,
    Initiation,
    Response,
    Transport,
    encode_message,
    padded_size,
    parse_cookie_reply,
    parse_initiation,
    parse_message,
    parse_response,
    parse_transport,
)
from appliance.types.errors import DecodeError, DecodeReason

MESSAGES = [
    Initiation(1, bytes(range(32)), bytes(48), bytes(28), bytes(range(16)), bytes(16)),
    Response(1, 2, bytes(range(32)), bytes(16), bytes(range(16)), bytes(16)),
    CookieReply(7, bytes(range(24)), bytes(32)),
    Transport(9, 2**40, bytes(48)),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_ok__round_trip(message: Initiation) -> None:
    data = encode_message(message)
    assert len(data) == {Initiation: 148, Response: 92, CookieReply: 64, Transport: 64}[type(message)]
    assert parse_message(data) == message


@pytest.mark.parametrize(
    ("parse", "data", "reason"),
    [
        (parse_message, b"\x01\x00", DecodeReason.TOO_SHORT),
        (parse_message, b"\x05\x00\x00\x00" + bytes(60), DecodeReason.BAD_TYPE),
        (parse_message, b"\x04\x01\x00\x00" + bytes(60), DecodeReason.BAD_TYPE),
        (parse_initiation, b"\x01\x00\x00\x00" + bytes(145), DecodeReason.BAD_LENGTH),
        (parse_response, b"\x01\x00\x00\x00" + bytes(88), DecodeReason.BAD_TYPE),
        (parse_cookie_reply, b"\x03\x00\x00\x00" + bytes(59), DecodeReason.BAD_LENGTH),
        (parse_transport, b"\x04\x00\x00\x00" + bytes(27), DecodeReason.TOO_SHORT),
        (parse_transport, b"\x03\x00\x00\x00" + bytes(60), DecodeReason.BAD_TYPE),
    ],
)
def test_fail__refused(parse, data: bytes, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        parse(data)
    assert caught.value.reason is reason


def test_ok__padding_never_passes_the_mtu() -> None:
    assert [padded_size(size, 1420) for size in (0, 1, 16, 1400, 1419, 1420)] == [0, 16, 16, 1408, 1420, 1420]
    assert padded_size(1500, 1420) == 1500
    assert padded_size(1419, 0) == 1424
