"""What the machine gives out: datagrams to send and events."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.proto.wireguard.source import Source
from appliance.types.keys import NodePublicKey


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A WireGuard message. `to` is set for answers (response, cookie reply): where the question came from.

    `peer` is None for cookie replies, whose receiver is not known yet. `payload_bytes` counts user data in it.
    """

    peer: NodePublicKey | None
    data: bytes
    to: Source | None = None
    payload_bytes: int = 0


@dataclass(frozen=True, slots=True)
class KeypairInstalled:
    """A key pair may be used for sending from now on."""

    peer: NodePublicKey
    initiator: bool


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """Both sides have proven the new keys. `at` is monotonic seconds."""

    peer: NodePublicKey
    at: float


@dataclass(frozen=True, slots=True)
class HandshakeFailed:
    """The peer did not answer for REKEY_ATTEMPT_TIME; `dropped` staged packets were given up."""

    peer: NodePublicKey
    dropped: int


@dataclass(frozen=True, slots=True)
class KeysZeroed:
    """Nothing new was agreed for too long: all keys of the peer are gone."""

    peer: NodePublicKey


Event = KeypairInstalled | HandshakeCompleted | HandshakeFailed | KeysZeroed
