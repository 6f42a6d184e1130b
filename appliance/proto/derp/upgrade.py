"""The one HTTP/1.1 exchange that opens a DERP connection (derp spec 1.1 to 1.3)."""

from __future__ import annotations

import re
from enum import Enum

from appliance.proto.derp.frames import PROTOCOL_VERSION
from appliance.proto.http1.head import Head, encode_request_head, encode_response_head
from appliance.types.keys import DerpPublicKey

PATH = "/derp"
META_NAME_PREFIX = "derpkey"
WEBSOCKET_PROTOCOL = "derp"

_META_NAME = re.compile(rb"[\x0c\x13]\x47" + META_NAME_PREFIX.encode() + rb"([0-9a-f]{64})")
_META_SERIAL = re.compile(rb"\xa0\x03\x02\x01\x02\x02\x01[\x01-\x7f]")


class UpgradeKind(Enum):
    """How a request wants its DERP stream."""

    NONE = "none"
    DERP = "derp"
    WEBSOCKET = "websocket"


def upgrade_request(host: str, *, ideal_node: str = "", fast_start: bool = False) -> bytes:
    """The client's request. `host` carries the port unless it is 443."""
    headers = [
        ("Host", host),
        ("User-Agent", "Go-http-client/1.1"),
        ("Connection", "Upgrade"),
        ("Upgrade", "DERP"),
    ]
    if ideal_node:
        headers.append(("Ideal-Node", ideal_node))
    if fast_start:
        headers.append(("Derp-Fast-Start", "1"))
    return encode_request_head("GET", PATH, tuple(headers))


def upgrade_response(key: DerpPublicKey) -> bytes:
    """The server's 101 answer."""
    return encode_response_head(
        101,
        (
            ("Upgrade", "DERP"),
            ("Connection", "Upgrade"),
            ("Derp-Version", str(PROTOCOL_VERSION)),
            ("Derp-Public-Key", key.raw.hex()),
        ),
    )


def upgrade_kind(head: Head) -> UpgradeKind:
    """What a request's `Upgrade` asks for; WebSocket without sub-protocol `derp` means plain framing."""
    wanted = (head.header("upgrade") or "").lower()
    if wanted == "websocket":
        is_derp = WEBSOCKET_PROTOCOL in head.tokens("sec-websocket-protocol")
        return UpgradeKind.WEBSOCKET if is_derp else UpgradeKind.DERP
    return UpgradeKind.DERP if wanted == "derp" else UpgradeKind.NONE


def wants_fast_start(head: Head) -> bool:
    """Whether the client reads no 101 answer (1.3)."""
    return head.header("derp-fast-start") == "1"


def meta_key(certificate: bytes) -> DerpPublicKey | None:
    """Server key told by a meta certificate (DER, 1.3); None when it is none.

    Nothing in it is signed by anybody, so the two fields are found by their encoding: version 3 and a serial number
    of one byte, and a common name of exactly 71 characters.
    """
    name = _META_NAME.search(certificate)
    if name is None or _META_SERIAL.search(certificate, 0, 32) is None:
        return None
    return DerpPublicKey.parse(name[1].decode("ascii"))
