"""Map stream frames: the vectors of the spec, sizes, bombs."""

import pytest
import zstandard

from appliance.proto.control.mapstream import KEEP_ALIVE, KEEP_ALIVE_RAW, KEEP_ALIVE_ZSTD, MapFramer, MapStreamReader
from appliance.types.errors import DecodeError, DecodeReason


def test_ok__keep_alive_is_the_vector() -> None:
    assert KEEP_ALIVE_RAW.hex() == "12000000" + "7b224b656570416c697665223a747275657d"
    assert KEEP_ALIVE_ZSTD.hex() == "1b00000028b52ffd20129100007b224b656570416c697665223a747275657d"


@pytest.mark.parametrize("compress", [True, False])
def test_ok__messages_byte_by_byte(compress: bool) -> None:
    framer, reader = MapFramer(compress=compress), MapStreamReader(compressed=compress)
    messages = [b'{"Node":{}}', KEEP_ALIVE, b"x" * 3_000_000]
    stream = framer.frame(messages[0]) + framer.keep_alive + framer.frame(messages[2])
    received = []
    for byte in stream[:60]:
        reader.receive_data(bytes((byte,)))
        while (message := reader.next_message()) is not None:
            received.append(message)
    reader.receive_data(stream[60:])
    while (message := reader.next_message()) is not None:
        received.append(message)
    assert received == messages


def test_ok__frames_without_content_size() -> None:
    body = zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * 1_000_000)
    reader = MapStreamReader(compressed=True)
    reader.receive_data(len(body).to_bytes(4, "little") + body)
    assert reader.next_message() == b"a" * 1_000_000


@pytest.mark.parametrize("sized", [True, False])
def test_fail__bomb_stops_at_the_cap(sized: bool) -> None:
    body = zstandard.ZstdCompressor(write_content_size=sized).compress(bytes(10_000_000))
    reader = MapStreamReader(compressed=True, max_message=1_000_000)
    reader.receive_data(len(body).to_bytes(4, "little") + body)
    with pytest.raises(DecodeError) as caught:
        reader.next_message()
    assert caught.value.reason is DecodeReason.TOO_LONG


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\0\0\0", DecodeReason.BAD_LENGTH),
        (b"\xff\xff\xff\x7f", DecodeReason.TOO_LONG),
        (b"\x04\0\0\0junk", DecodeReason.BAD_VALUE),
    ],
)
def test_fail__bad_frame_is_fatal_for_ever(data: bytes, reason: DecodeReason) -> None:
    reader = MapStreamReader(compressed=True)
    reader.receive_data(data)
    with pytest.raises(DecodeError) as caught:
        reader.next_message()
    assert caught.value.reason is reason
    reader.receive_data(KEEP_ALIVE_ZSTD)
    with pytest.raises(DecodeError):
        reader.next_message()
