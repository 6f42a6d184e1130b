"""The HTTP upgrade of `/ts2021` (control-protocol spec section 3.1), and the path and answer of `/key` (section 2)."""

from __future__ import annotations

import base64
import binascii

from appliance.proto.control import messages as wire
from appliance.proto.http1.head import RequestHead, ResponseHead, encode_request_head, encode_response_head
from appliance.proto.noise.frames import INITIATION_SIZE
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import MachinePublicKey

UPGRADE_PATH = "/ts2021"
KEY_PATH = "/key"
PROTOCOL = "tailscale-control-protocol"
HANDSHAKE_HEADER = "X-Tailscale-Handshake"
MAX_KEY_RESPONSE_SIZE = 65536

ACCEPTED = encode_response_head(101, (("Upgrade", PROTOCOL), ("Connection", "upgrade")))


def encode_upgrade(host: str, initiation: bytes) -> bytes:
    """The client's request head; `host` as for the Host header."""
    headers = (
        ("Host", host),
        ("Upgrade", PROTOCOL),
        ("Connection", "upgrade"),
        (HANDSHAKE_HEADER, base64.b64encode(initiation).decode()),
        ("Content-Length", "0"),
    )
    return encode_request_head("POST", UPGRADE_PATH, headers)


def check_accepted(head: ResponseHead) -> None:
    """Raises `DecodeError` (UNEXPECTED) unless the server switched to our protocol."""
    upgrade = (head.header("upgrade") or "").lower()
    if head.status != 101 or upgrade != PROTOCOL:
        raise DecodeError(
            DecodeReason.UNEXPECTED, f"no upgrade: status {head.status} {head.reason[:60]!r}, protocol {upgrade[:60]!r}"
        )


def parse_upgrade(head: RequestHead) -> bytes:
    """Server: the initiation that the request carries. Raises `DecodeError`: answer 400."""
    upgrade = (head.header("upgrade") or "").strip().lower()
    if not upgrade or "upgrade" not in head.tokens("connection"):
        raise DecodeError(DecodeReason.UNEXPECTED, "missing Upgrade header")
    if upgrade != PROTOCOL:
        raise DecodeError(DecodeReason.UNEXPECTED, "unknown Upgrade protocol")
    return parse_handshake(head.header(HANDSHAKE_HEADER.lower()))


def parse_handshake(text: str | None) -> bytes:
    """The base64 initiation; its inner form is checked by the Noise responder. Raises `DecodeError`."""
    if not text:
        raise DecodeError(DecodeReason.UNEXPECTED, f"missing {HANDSHAKE_HEADER} header")
    if len(text) > 4 * INITIATION_SIZE:
        raise DecodeError(DecodeReason.TOO_LONG, HANDSHAKE_HEADER)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DecodeError(DecodeReason.BAD_TEXT, f"{HANDSHAKE_HEADER} is not base64") from None


def key_target(version: int = wire.CAPABILITY_VERSION) -> str:
    """Request target of the key fetch."""
    return f"{KEY_PATH}?v={version}"


def encode_key_response(public: MachinePublicKey) -> bytes:
    """Body of the `/key` answer; the legacy key is the zero key."""
    return wire.encode(wire.KeyResponse(legacy_public_key=str(MachinePublicKey.zero()), public_key=str(public)))


def parse_key_response(body: bytes) -> MachinePublicKey:
    """The server's Noise key. Raises `DecodeError`."""
    if len(body) > MAX_KEY_RESPONSE_SIZE:
        raise DecodeError(DecodeReason.TOO_LONG, "/key")
    key = MachinePublicKey.parse(wire.decode(wire.KeyResponse, body).public_key)
    if key.is_zero:
        raise DecodeError(DecodeReason.BAD_KEY, "zero server key")
    return key
