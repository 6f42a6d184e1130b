"""Cutting a DERP byte stream into frames, whatever the cuts of the transport (derp spec 2.1)."""

from __future__ import annotations

from appliance.proto.derp.frames import HEADER, HEADER_SIZE, LIMITS, check_length

RawFrame = tuple[int, bytes]
"""Type and payload of a known frame, its length already checked."""


class FrameParser:
    """Feed bytes, get all frames that are complete; unknown types are discarded without being kept.

    Each byte is copied at most twice: pieces of an incomplete frame are joined once it is whole.
    """

    __slots__ = ("_have", "_need", "_pieces", "_skip")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._have = 0
        self._need = HEADER_SIZE
        self._skip = 0

    @property
    def buffered(self) -> int:
        """Bytes of an incomplete frame that are held."""
        return self._have

    def feed(self, data: bytes) -> list[RawFrame]:
        """Complete frames in order. Raises `DecodeError`: the stream is lost and frames of this call with it."""
        if self._skip:
            gone = min(self._skip, len(data))
            self._skip -= gone
            data = data[gone:]
        if self._pieces:
            self._pieces.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._have = 0
        return self._cut(data)

    def _cut(self, data: bytes) -> list[RawFrame]:
        frames: list[RawFrame] = []
        at, end = 0, len(data)
        while at + HEADER_SIZE <= end:
            kind, size = HEADER.unpack_from(data, at)
            limits = LIMITS.get(kind)
            if limits is None or not limits[0] <= size <= limits[1]:
                check_length(kind, size)
            start, at = at + HEADER_SIZE, at + HEADER_SIZE + size
            if limits is None:
                if at > end:
                    self._skip, at = at - end, end
            elif at > end:
                self._keep(data, start - HEADER_SIZE, HEADER_SIZE + size)
                return frames
            else:
                frames.append((kind, data[start:at]))
        if at < end:
            self._keep(data, at, HEADER_SIZE)
        return frames

    def _keep(self, data: bytes, start: int, need: int) -> None:
        self._pieces.append(data[start:])
        self._have = len(data) - start
        self._need = need
