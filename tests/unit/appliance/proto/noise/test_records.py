"""The record layer: sizes, order, fatal errors."""

import pytest

from appliance.proto.noise.frames import MAX_PLAINTEXT_SIZE, MAX_RECORD_SIZE
from appliance.proto.noise.records import MAX_COUNTER, RecordReader, RecordWriter
from appliance.types.errors import DecodeError, DecodeReason

KEY = bytes(range(32))


def test_ok__long_plaintext_is_split_at_4077() -> None:
    sealed = RecordWriter(KEY).seal(b"a" * (MAX_PLAINTEXT_SIZE + 1))
    assert len(sealed) == MAX_RECORD_SIZE + 3 + 16 + 1
    assert RecordReader(KEY).receive_data(sealed) == b"a" * (MAX_PLAINTEXT_SIZE + 1)


def test_ok__empty_record_is_skipped() -> None:
    writer, reader = RecordWriter(KEY), RecordReader(KEY)
    empty = writer._record(b"")
    assert reader.receive_data(empty + writer.seal(b"next")) == b"next"


def test_ok__bytes_may_come_one_by_one() -> None:
    writer, reader = RecordWriter(KEY), RecordReader(KEY)
    sealed = writer.seal(b"one") + writer.seal(b"two")
    assert b"".join(reader.receive_data(bytes((byte,))) for byte in sealed) == b"onetwo"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x04\x0f\xfe", DecodeReason.TOO_LONG),
        (b"\x03\x00\x10", DecodeReason.BAD_TYPE),
        (b"\x04\x00\x0f", DecodeReason.TOO_SHORT),
        (b"\x04\x00\x10" + bytes(16), DecodeReason.BAD_CIPHERTEXT),
    ],
)
def test_fail__bad_record_is_fatal_for_ever(data: bytes, reason: DecodeReason) -> None:
    reader = RecordReader(KEY)
    with pytest.raises(DecodeError) as caught:
        reader.receive_data(data)
    assert caught.value.reason is reason
    with pytest.raises(DecodeError):
        reader.receive_data(RecordWriter(KEY).seal(b"good"))


def test_fail__replayed_record() -> None:
    reader = RecordReader(KEY)
    sealed = RecordWriter(KEY).seal(b"once")
    reader.receive_data(sealed)
    with pytest.raises(DecodeError):
        reader.receive_data(sealed)


def test_fail__counter_is_used_up() -> None:
    writer = RecordWriter(KEY, MAX_COUNTER)
    writer.seal(b"last")
    with pytest.raises(DecodeError):
        writer.seal(b"one too many")
