"""The one HTTP/1.1 exchange that opens a DERP connection (derp spec 1.1 to 1.3)."""

from __future__ import annotations

from enum import Enum

from appliance.proto.derp.frames import PROTOCOL_VERSION
from appliance.proto.http1.head import Head, encode_request_head, encode_response_head
from appliance.types.errors import DecodeError
from appliance.types.keys import DerpPublicKey

PATH = "/derp"
META_NAME_PREFIX = "derpkey"
WEBSOCKET_PROTOCOL = "derp"


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


def parse_meta_name(name: str, serial: int) -> DerpPublicKey | None:
    """Server key told by a meta certificate's common name and serial number (1.3); None when it is none."""
    if not name.startswith(META_NAME_PREFIX) or not 1 <= serial <= 255:
        return None
    try:
        return DerpPublicKey.parse(name.removeprefix(META_NAME_PREFIX))
    except DecodeError:
        return None
