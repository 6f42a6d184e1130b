"""The Noise_IKpsk2 handshake of both sides as pure steps (WireGuard paper 5.4.2-5.4.4, magicsock-disco spec 2.2).

A step takes the state before it and gives the message body (mac fields zero) and the state after it. Failure to
authenticate raises `DecodeError`. MACs, indices and timers are not here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.crypto.aead import open_, seal
from appliance.crypto.hashes import blake2s, kdf
from appliance.crypto.x25519 import public_key, x25519_exchange, x25519_public
from appliance.proto.wireguard.messages import Initiation, Response
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import NodePrivateKey, NodePublicKey, PresharedKey

INITIAL_CHAIN = blake2s(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
INITIAL_HASH = blake2s(INITIAL_CHAIN, b"WireGuard v1 zx2c4 Jason@zx2c4.com")
NO_PSK = PresharedKey(bytes(32))
_NONCE = bytes(12)


class LocalIdentity:
    """Our static key."""

    __slots__ = ("private", "public", "responder_hash")

    def __init__(self, private: NodePrivateKey) -> None:
        self.private = private
        self.public = public_key(private)
        self.responder_hash = blake2s(INITIAL_HASH, self.public.raw)


class RemoteIdentity:
    """A peer's static key as seen from ours, with the shared secret of the two made once."""

    __slots__ = ("_static_static", "local", "psk", "public", "responder_hash")

    def __init__(self, local: LocalIdentity, public: NodePublicKey, psk: PresharedKey | None = None) -> None:
        self.local = local
        self.public = public
        self.psk = psk or NO_PSK
        self.responder_hash = blake2s(INITIAL_HASH, public.raw)
        self._static_static: bytes | None = None

    def static_static(self) -> bytes:
        """DH of the two static keys; a low-order public key raises `DecodeError`."""
        if self._static_static is None:
            self._static_static = x25519_exchange(self.local.private.reveal(), self.public.raw)
        return self._static_static


@dataclass(frozen=True, slots=True)
class InitiatorState:
    """After our initiation."""

    ephemeral: bytes = field(repr=False)
    chain: bytes = field(repr=False)
    hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenedStatic:
    """An initiation whose sender is known but not yet authenticated."""

    public: NodePublicKey
    message: Initiation
    chain: bytes = field(repr=False)
    hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ResponderState:
    """After an authenticated initiation; `timestamp` is to be compared with the greatest seen."""

    timestamp: bytes
    sender_index: int
    ephemeral: bytes
    chain: bytes = field(repr=False)
    hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TransportKeys:
    """The two directions as seen by this side."""

    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)


def create_initiation(
    remote: RemoteIdentity, ephemeral: bytes, sender_index: int, timestamp: bytes
) -> tuple[Initiation, InitiatorState]:
    """`ephemeral` is 32 fresh random bytes. A low-order key of the peer raises `DecodeError`."""
    public = x25519_public(ephemeral)
    (chain,) = kdf(1, INITIAL_CHAIN, public)
    digest = blake2s(remote.responder_hash, public)
    chain, secret = kdf(2, chain, x25519_exchange(ephemeral, remote.public.raw))
    sealed_static = seal(secret, _NONCE, remote.local.public.raw, digest)
    digest = blake2s(digest, sealed_static)
    chain, secret = kdf(2, chain, remote.static_static())
    sealed_timestamp = seal(secret, _NONCE, timestamp, digest)
    digest = blake2s(digest, sealed_timestamp)
    return Initiation(sender_index, public, sealed_static, sealed_timestamp), InitiatorState(ephemeral, chain, digest)


def open_static(local: LocalIdentity, message: Initiation) -> OpenedStatic:
    """Learn who initiates."""
    (chain,) = kdf(1, INITIAL_CHAIN, message.ephemeral)
    digest = blake2s(local.responder_hash, message.ephemeral)
    chain, secret = kdf(2, chain, x25519_exchange(local.private.reveal(), message.ephemeral))
    static = open_(secret, _NONCE, message.sealed_static, digest)
    return OpenedStatic(NodePublicKey(static), message, chain, blake2s(digest, message.sealed_static))


def open_timestamp(remote: RemoteIdentity, opened: OpenedStatic) -> ResponderState:
    """Authenticate the initiator."""
    if opened.public != remote.public:
        raise DecodeError(DecodeReason.BAD_KEY, "initiation of another peer")
    chain, secret = kdf(2, opened.chain, remote.static_static())
    sealed = opened.message.sealed_timestamp
    timestamp = open_(secret, _NONCE, sealed, opened.hash)
    message = opened.message
    return ResponderState(timestamp, message.sender_index, message.ephemeral, chain, blake2s(opened.hash, sealed))


def create_response(
    remote: RemoteIdentity, state: ResponderState, ephemeral: bytes, sender_index: int
) -> tuple[Response, TransportKeys]:
    """`ephemeral` is 32 fresh random bytes."""
    public = x25519_public(ephemeral)
    (chain,) = kdf(1, state.chain, public)
    digest = blake2s(state.hash, public)
    (chain,) = kdf(1, chain, x25519_exchange(ephemeral, state.ephemeral))
    (chain,) = kdf(1, chain, x25519_exchange(ephemeral, remote.public.raw))
    chain, tau, secret = kdf(3, chain, remote.psk.reveal())
    sealed = seal(secret, _NONCE, b"", blake2s(digest, tau))
    receive, send = kdf(2, chain, b"")
    return Response(sender_index, state.sender_index, public, sealed), TransportKeys(send, receive)


def consume_response(remote: RemoteIdentity, state: InitiatorState, message: Response) -> TransportKeys:
    """The keys of the session that the response completes."""
    (chain,) = kdf(1, state.chain, message.ephemeral)
    digest = blake2s(state.hash, message.ephemeral)
    (chain,) = kdf(1, chain, x25519_exchange(state.ephemeral, message.ephemeral))
    (chain,) = kdf(1, chain, x25519_exchange(remote.local.private.reveal(), message.ephemeral))
    chain, tau, secret = kdf(3, chain, remote.psk.reveal())
    open_(secret, _NONCE, message.sealed_empty, blake2s(digest, tau))
    send, receive = kdf(2, chain, b"")
    return TransportKeys(send, receive)
