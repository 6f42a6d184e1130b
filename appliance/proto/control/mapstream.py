"""Framing of the map stream (control-protocol spec section 9).

    length u32 LITTLE-endian | that many bytes: a JSON MapResponse, as one zstd frame when the request asked so

Zero length is invalid. Sizes are capped on both sides, and decompression stops at its cap, not after it.
"""

from __future__ import annotations

import struct

import zstandard

from appliance.types.errors import DecodeError, DecodeReason

MAX_FRAME_SIZE = 32 * 2**20
"""Largest frame that we accept on the wire; senders stay below 4 MiB."""
MAX_MESSAGE_SIZE = 128 * 2**20
"""Largest decompressed message that we accept."""

_LENGTH = struct.Struct("<I")
_STEP = 1 << 18
_MAX_WINDOW = 8 * 2**20
_COMPRESSION_LEVEL = 3

KEEP_ALIVE = b'{"KeepAlive":true}'
KEEP_ALIVE_RAW = _LENGTH.pack(len(KEEP_ALIVE)) + KEEP_ALIVE
# One raw zstd block: the form that clients know by heart.
_KEEP_ALIVE_ZSTD_BODY = bytes.fromhex("28b52ffd2012910000") + KEEP_ALIVE
KEEP_ALIVE_ZSTD = _LENGTH.pack(len(_KEEP_ALIVE_ZSTD_BODY)) + _KEEP_ALIVE_ZSTD_BODY


class MapFramer:
    """Frames messages; one may serve many streams. `compress` False gives raw JSON frames."""

    def __init__(self, *, compress: bool) -> None:
        self._compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL) if compress else None
        self.keep_alive = KEEP_ALIVE_ZSTD if compress else KEEP_ALIVE_RAW

    def frame(self, message: bytes) -> bytes:
        """One frame around a non-empty JSON message."""
        if not message:
            raise ValueError("an empty message has no frame")
        body = message if self._compressor is None else self._compressor.compress(message)
        return _LENGTH.pack(len(body)) + body


class MapStreamReader:
    """Takes body bytes, gives JSON messages. Holds at most one incomplete frame."""

    def __init__(
        self, *, compressed: bool, max_frame: int = MAX_FRAME_SIZE, max_message: int = MAX_MESSAGE_SIZE
    ) -> None:
        self._compressed = compressed
        self._max_frame = max_frame
        self._max_message = max_message
        self._buffer = bytearray()
        self._failure: DecodeError | None = None

    def receive_data(self, data: bytes) -> None:
        self._buffer += data

    def next_message(self) -> bytes | None:
        """The next complete message; None = more bytes needed. Raises `DecodeError`, and the same one ever after."""
        if self._failure is not None:
            raise self._failure
        try:
            return self._next()
        except DecodeError as error:
            self._failure = error
            self._buffer.clear()
            raise

    def _next(self) -> bytes | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (size,) = _LENGTH.unpack_from(self._buffer)
        if size == 0:
            raise DecodeError(DecodeReason.BAD_LENGTH, "empty map frame")
        if size > self._max_frame:
            raise DecodeError(DecodeReason.TOO_LONG, f"map frame of {size} bytes")
        end = _LENGTH.size + size
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        if body == _KEEP_ALIVE_ZSTD_BODY:
            return KEEP_ALIVE
        return decompress(body, self._max_message) if self._compressed else body


def decompress(body: bytes, limit: int) -> bytes:
    """One zstd frame, content size in its header or not, at most `limit` bytes of output. Raises `DecodeError`."""
    try:
        size = zstandard.get_frame_parameters(body).content_size
        if size in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR):
            return _decompress_in_steps(body, limit)
        if size > limit:
            raise DecodeError(DecodeReason.TOO_LONG, f"map message of {size} bytes")
        return zstandard.ZstdDecompressor().decompress(body)
    except zstandard.ZstdError as error:
        raise DecodeError(DecodeReason.BAD_VALUE, f"zstd: {str(error)[:80]}") from None


def _decompress_in_steps(body: bytes, limit: int) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(body)
    parts: list[bytes] = []
    total = 0
    while part := reader.read(_STEP):
        total += len(part)
        if total > limit:
            raise DecodeError(DecodeReason.TOO_LONG, f"map message over {limit} bytes")
        parts.append(part)
    return b"".join(parts)
