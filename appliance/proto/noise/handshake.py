"""Handshake machines of `Noise_IK_25519_ChaChaPoly_BLAKE2s` (control-protocol spec section 4.2).

The client knows the server's static key and proves its machine key in the first message; the version in the clear is
bound by the prologue. Randomness (the ephemeral seed) is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.crypto.aead import open_, seal
from appliance.crypto.hashes import blake2s, kdf
from appliance.crypto.x25519 import clamp, public_key, x25519_exchange, x25519_public
from appliance.proto.noise.frames import (
    HEADER,
    INITIATION_HEADER,
    TYPE_INITIATION,
    TYPE_RESPONSE,
    parse_initiation,
    parse_response,
)
from appliance.proto.noise.records import RecordReader, RecordWriter
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import MachinePrivateKey, MachinePublicKey

PROTOCOL_NAME = b"Noise_IK_25519_ChaChaPoly_BLAKE2s"
_ZERO_NONCE = bytes(12)


class SymmetricState:
    """Chaining key and running hash; each derived key is used once, with a zero nonce."""

    def __init__(self, version: int, server: MachinePublicKey) -> None:
        self.hash = self.chaining_key = blake2s(PROTOCOL_NAME)
        self._key = b""
        self.mix_hash(b"Tailscale Control Protocol v%d" % version)
        self.mix_hash(server.raw)

    def mix_hash(self, data: bytes) -> None:
        self.hash = blake2s(self.hash, data)

    def mix_key(self, private: bytes, public: bytes) -> None:
        """Mix a Diffie-Hellman result; an all-zero one raises `DecodeError` (BAD_KEY)."""
        self.chaining_key, self._key = kdf(2, self.chaining_key, x25519_exchange(private, public))

    def encrypt(self, plaintext: bytes) -> bytes:
        ciphertext = seal(self._key, _ZERO_NONCE, plaintext, self.hash)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt(self, ciphertext: bytes) -> bytes:
        plaintext = open_(self._key, _ZERO_NONCE, ciphertext, self.hash)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """Keys client to server and server to client."""
        first, second = kdf(2, self.chaining_key, b"")
        return first, second


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """A finished handshake. `peer` is the other side's static key, `version` the client's capability version."""

    version: int
    peer: MachinePublicKey
    handshake_hash: bytes
    writer: RecordWriter
    reader: RecordReader


class Initiator:
    """The client's side: `initiation()`, then `receive_response()` once. Each attempt needs a fresh seed."""

    def __init__(
        self, machine: MachinePrivateKey, server: MachinePublicKey, *, version: int, ephemeral_seed: bytes
    ) -> None:
        self._machine = machine
        self._server = server
        self._version = version
        self._ephemeral = clamp(ephemeral_seed)
        self._state = SymmetricState(version, server)
        self._initiation = self._make_initiation()

    @property
    def server(self) -> MachinePublicKey:
        return self._server

    def initiation(self) -> bytes:
        """The 101-byte initiation frame."""
        return self._initiation

    def _make_initiation(self) -> bytes:
        state = self._state
        ephemeral = x25519_public(self._ephemeral)
        state.mix_hash(ephemeral)
        state.mix_key(self._ephemeral, self._server.raw)
        machine = state.encrypt(public_key(self._machine).raw)
        state.mix_key(self._machine.reveal(), self._server.raw)
        payload = ephemeral + machine + state.encrypt(b"")
        return INITIATION_HEADER.pack(self._version, TYPE_INITIATION, len(payload)) + payload

    def receive_response(self, data: bytes | bytearray) -> tuple[Session, int] | None:
        """The session and how many bytes the response took; None = more bytes needed. Raises `DecodeError`."""
        parsed = parse_response(data)
        if parsed is None:
            return None
        payload, size = parsed
        state = self._state
        ephemeral = payload[:32]
        state.mix_hash(ephemeral)
        state.mix_key(self._ephemeral, ephemeral)
        state.mix_key(self._machine.reveal(), ephemeral)
        state.decrypt(payload[32:])
        sending, receiving = state.split()
        session = Session(self._version, self._server, state.hash, RecordWriter(sending), RecordReader(receiving))
        return session, size


class Responder:
    """The server's side: `receive_initiation()` once."""

    def __init__(self, private: MachinePrivateKey, *, ephemeral_seed: bytes) -> None:
        self._private = private
        self._ephemeral = clamp(ephemeral_seed)

    def receive_initiation(self, data: bytes) -> tuple[Session, bytes]:
        """The session and the 51-byte response frame. Any machine key is accepted: authorise each request.

        Raises `DecodeError`; BAD_LENGTH and BAD_TYPE are answered with an error frame, the rest just close.
        """
        version, payload = parse_initiation(data)
        state = SymmetricState(version, public_key(self._private))
        client_ephemeral = payload[:32]
        state.mix_hash(client_ephemeral)
        state.mix_key(self._private.reveal(), client_ephemeral)
        machine = MachinePublicKey(state.decrypt(payload[32:80]))
        if machine.is_zero:
            raise DecodeError(DecodeReason.BAD_KEY, "zero machine key")
        state.mix_key(self._private.reveal(), machine.raw)
        state.decrypt(payload[80:])
        return self._respond(state, version, client_ephemeral, machine)

    def _respond(
        self, state: SymmetricState, version: int, client_ephemeral: bytes, machine: MachinePublicKey
    ) -> tuple[Session, bytes]:
        ephemeral = x25519_public(self._ephemeral)
        state.mix_hash(ephemeral)
        state.mix_key(self._ephemeral, client_ephemeral)
        state.mix_key(self._ephemeral, machine.raw)
        payload = ephemeral + state.encrypt(b"")
        receiving, sending = state.split()
        session = Session(version, machine, state.hash, RecordWriter(sending), RecordReader(receiving))
        return session, HEADER.pack(TYPE_RESPONSE, len(payload)) + payload
