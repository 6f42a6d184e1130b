"""ClientInfo and ServerInfo: the sealed JSON by which both ends prove their keys (derp spec 2.3)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from appliance.crypto.box import box_open, box_precompute, box_seal
from appliance.crypto.x25519 import x25519_public
from appliance.proto.derp.frames import PROTOCOL_VERSION, ClientInfoBox, ServerInfoBox
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import DerpMeshKey, DerpPrivateKey, DerpPublicKey, NodePrivateKey, NodePublicKey

MAX_APP_NAME = 256


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """What a client says of itself; `app_name` and `is_prober` are for statistics only."""

    version: int = PROTOCOL_VERSION
    mesh_key: DerpMeshKey | None = None
    can_ack_pings: bool = True
    is_prober: bool = False
    app_name: str = ""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Rate and burst in bytes of the client's send bucket; 0 = no limit."""

    version: int = PROTOCOL_VERSION
    bytes_per_s: int = 0
    burst_bytes: int = 0


def encode_client_info(info: ClientInfo) -> bytes:
    fields: dict[str, Any] = {}
    if info.version:
        fields["version"] = info.version
    if info.mesh_key is not None:
        fields["meshKey"] = info.mesh_key.reveal().hex()
    fields["CanAckPings"] = info.can_ack_pings
    if info.is_prober:
        fields["IsProber"] = True
    if info.app_name:
        fields["AppName"] = info.app_name
    return json.dumps(fields, separators=(",", ":")).encode()


def encode_server_info(info: ServerInfo) -> bytes:
    fields = {"version": info.version}
    if info.bytes_per_s:
        fields["TokenBucketBytesPerSecond"] = info.bytes_per_s
    if info.burst_bytes:
        fields["TokenBucketBytesBurst"] = info.burst_bytes
    return json.dumps(fields, separators=(",", ":")).encode()


def _fields(text: bytes) -> dict[str, Any]:
    """The object with lower-case names: peers match names without regard to case."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise DecodeError(DecodeReason.BAD_JSON, "DERP info") from None
    if not isinstance(found, dict):
        raise DecodeError(DecodeReason.BAD_JSON, "DERP info is not an object")
    return {name.lower(): value for name, value in found.items()}


def _number(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise DecodeError(DecodeReason.BAD_VALUE, name)
    return value


def _flag(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name, False)
    if value is not None and not isinstance(value, bool):
        raise DecodeError(DecodeReason.BAD_VALUE, name)
    return bool(value)


def _mesh_key(fields: dict[str, Any]) -> DerpMeshKey | None:
    value = fields.get("meshkey")
    if value is None:
        return None
    if not isinstance(value, str):
        raise DecodeError(DecodeReason.BAD_KEY, "meshKey")
    return DerpMeshKey.parse(value)


def parse_client_info(text: bytes) -> ClientInfo:
    """Unknown names are ignored. Raises `DecodeError`; a mesh key of wrong length or digits is one."""
    fields = _fields(text)
    name = fields.get("appname")
    return ClientInfo(
        version=_number(fields, "version"),
        mesh_key=_mesh_key(fields),
        can_ack_pings=_flag(fields, "canackpings"),
        is_prober=_flag(fields, "isprober"),
        app_name=name[:MAX_APP_NAME] if isinstance(name, str) else "",
    )


def parse_server_info(text: bytes) -> ServerInfo:
    """Raises `DecodeError`."""
    fields = _fields(text)
    return ServerInfo(
        version=_number(fields, "version"),
        bytes_per_s=_number(fields, "tokenbucketbytespersecond"),
        burst_bytes=_number(fields, "tokenbucketbytesburst"),
    )


def seal_client_info(
    private: NodePrivateKey | DerpPrivateKey, server: DerpPublicKey, info: ClientInfo, nonce: bytes
) -> ClientInfoBox:
    """`private` is the node's, or a server's own key when it joins a mesh. `nonce` is 24 random bytes."""
    secret = private.reveal()
    sealed = box_seal(box_precompute(secret, server.raw), nonce, encode_client_info(info))
    return ClientInfoBox(NodePublicKey(x25519_public(secret)), nonce, sealed)


def open_client_info(private: DerpPrivateKey, box: ClientInfoBox) -> ClientInfo:
    """Proof that the client owns `box.key`. Raises `DecodeError`."""
    shared = box_precompute(private.reveal(), box.key.raw)
    return parse_client_info(box_open(shared, box.nonce, box.sealed))


def seal_server_info(private: DerpPrivateKey, client: NodePublicKey, info: ServerInfo, nonce: bytes) -> ServerInfoBox:
    """`nonce` is 24 random bytes."""
    shared = box_precompute(private.reveal(), client.raw)
    return ServerInfoBox(nonce, box_seal(shared, nonce, encode_server_info(info)))


def open_server_info(private: NodePrivateKey | DerpPrivateKey, server: DerpPublicKey, box: ServerInfoBox) -> ServerInfo:
    """Raises `DecodeError`."""
    shared = box_precompute(private.reveal(), server.raw)
    return parse_server_info(box_open(shared, box.nonce, box.sealed))
