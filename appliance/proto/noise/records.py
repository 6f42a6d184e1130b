"""The record layer after the handshake (control-protocol spec sections 4.1, 4.3).

The nonce is 4 zero bytes and a big-endian 64-bit counter (standard Noise is little-endian); no associated data, no
rekey. Any error is fatal: the stream is never resynchronised.
"""

from __future__ import annotations

from appliance.crypto.aead import TAG_SIZE, Cipher, InvalidTag
from appliance.proto.noise.frames import (
    HEADER,
    HEADER_SIZE,
    MAX_CIPHERTEXT_SIZE,
    MAX_PLAINTEXT_SIZE,
    TYPE_RECORD,
)
from appliance.types.errors import DecodeError, DecodeReason

MAX_COUNTER = 2**64 - 2
"""2^64-1 is never used (section 4.3)."""


class RecordWriter:
    """Seals one direction. `counter` is the number of the next record."""

    def __init__(self, key: bytes, counter: int = 0) -> None:
        self._cipher = Cipher(key)
        self._counter = counter

    def seal(self, plaintext: bytes) -> bytes:
        """As many records as the plaintext needs (at most 4077 bytes each), back to back; nothing for nothing."""
        if len(plaintext) <= MAX_PLAINTEXT_SIZE:
            return self._record(plaintext) if plaintext else b""
        view = memoryview(plaintext)
        starts = range(0, len(plaintext), MAX_PLAINTEXT_SIZE)
        return b"".join([self._record(view[start : start + MAX_PLAINTEXT_SIZE]) for start in starts])

    def _record(self, plaintext: bytes | memoryview) -> bytes:
        if self._counter > MAX_COUNTER:
            raise DecodeError(DecodeReason.BAD_VALUE, "record counter is used up")
        nonce = self._counter.to_bytes(12, "big")
        self._counter += 1
        ciphertext = self._cipher.encrypt(nonce, plaintext, None)
        return HEADER.pack(TYPE_RECORD, len(ciphertext)) + ciphertext


class RecordReader:
    """Opens one direction. Holds at most one incomplete record."""

    def __init__(self, key: bytes, counter: int = 0) -> None:
        self._cipher = Cipher(key)
        self._counter = counter
        self._buffer = bytearray()
        self._failure: DecodeError | None = None

    def receive_data(self, data: bytes | bytearray | memoryview) -> bytes:
        """Plaintext of all complete records. Raises `DecodeError`, and the same one ever after."""
        if self._failure is not None:
            raise self._failure
        self._buffer += data
        try:
            return self._open_complete()
        except DecodeError as error:
            self._failure = error
            self._buffer.clear()
            raise

    def _open_complete(self) -> bytes:
        parts: list[bytes] = []
        position = 0
        size = len(self._buffer)
        with memoryview(self._buffer) as view:
            while size - position >= HEADER_SIZE:
                kind, length = HEADER.unpack_from(view, position)
                if kind != TYPE_RECORD:
                    raise DecodeError(DecodeReason.BAD_TYPE, f"record of type {kind}")
                if length > MAX_CIPHERTEXT_SIZE:
                    raise DecodeError(DecodeReason.TOO_LONG, f"record of {length} bytes")
                if length < TAG_SIZE:
                    raise DecodeError(DecodeReason.TOO_SHORT, f"record of {length} bytes")
                end = position + HEADER_SIZE + length
                if end > size:
                    break
                parts.append(self._open(bytes(view[position + HEADER_SIZE : end])))
                position = end
        del self._buffer[:position]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _open(self, ciphertext: bytes) -> bytes:
        if self._counter > MAX_COUNTER:
            raise DecodeError(DecodeReason.BAD_VALUE, "record counter is used up")
        try:
            plaintext = self._cipher.decrypt(self._counter.to_bytes(12, "big"), ciphertext, None)
        except InvalidTag:
            raise DecodeError(DecodeReason.BAD_CIPHERTEXT, f"record {self._counter}") from None
        self._counter += 1
        return plaintext
