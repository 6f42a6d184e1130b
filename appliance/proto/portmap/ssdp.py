"""Finding UPnP gateways: M-SEARCH and its answers (UPnP device architecture 1.1 section 1.3; derp spec 10.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from appliance.proto.http1.head import parse_response_head
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError, DecodeReason

PORT = 1900
GROUP = AddrPort("239.255.255.250", PORT)
ALL = "ssdp:all"
GATEWAY_DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
MAX_SIZE = 4096
MAX_ANSWERS = 11

_MARK = b":InternetGatewayDevice:"


@dataclass(frozen=True, slots=True)
class Answer:
    """A device that says where it describes itself. Texts as received: not to be trusted."""

    location: str
    server: str
    usn: str


def encode_search(target: str) -> bytes:
    lines = (
        "M-SEARCH * HTTP/1.1",
        f"HOST: {GROUP.ip}:{GROUP.port}",
        f"ST: {target}",
        'MAN: "ssdp:discover"',
        "MX: 2",
        "",
        "",
    )
    return "\r\n".join(lines).encode("ascii")


def parse_answer(data: bytes) -> Answer:
    """An answer of an Internet gateway device. Raises `DecodeError`, also for other devices (BAD_TYPE)."""
    if len(data) > MAX_SIZE:
        raise DecodeError(DecodeReason.TOO_LONG, "SSDP answer")
    if _MARK not in data:
        raise DecodeError(DecodeReason.BAD_TYPE, "SSDP answer of another device")
    # some routers forget the empty line at the end
    parsed = parse_response_head(data.rstrip(b"\r\n") + b"\r\n\r\n")
    if parsed is None:
        raise DecodeError(DecodeReason.TOO_SHORT, "SSDP answer")
    head, _ = parsed
    location = head.header("location")
    if head.status != 200 or not location:
        raise DecodeError(DecodeReason.BAD_VALUE, "SSDP answer without a location")
    return Answer(location, head.header("server") or "", head.header("usn") or "")


def ranked(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """Newest device version first (its USN ends in :2), each description once."""
    unique: dict[tuple[str, str], Answer] = {}
    for answer in sorted(answers, key=lambda item: (item.usn, item.location, item.server), reverse=True):
        unique.setdefault((answer.location, answer.server), answer)
    return tuple(unique.values())[:MAX_ANSWERS]
