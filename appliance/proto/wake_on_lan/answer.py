"""What a node answers that was asked to wake a host: JSON, the same to peers and to control (apps spec 1.4)."""

from __future__ import annotations

import msgspec

from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.wake import WakeReport

MAX_ANSWER = 64 * 1024


class _Answer(msgspec.Struct):
    """`Errors` null: none."""

    sent_to: list[str] | None = msgspec.field(default=None, name="SentTo")
    errors: list[str] | None = msgspec.field(default=None, name="Errors")


def encode_answer(report: WakeReport) -> bytes:
    return msgspec.json.encode(_Answer(list(report.sent), list(report.errors) or None))


def parse_answer(data: bytes) -> WakeReport:
    """Raises `DecodeError`."""
    try:
        found = msgspec.json.decode(data[:MAX_ANSWER], type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise DecodeError(DecodeReason.BAD_JSON, "answer about a host to wake") from None
    return WakeReport(tuple(found.sent_to or ()), tuple(found.errors or ()))
