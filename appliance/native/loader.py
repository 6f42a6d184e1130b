"""Finding the extension module `_native` beside this file, or saying why there is none."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Protocol, cast

Buffer = bytes | bytearray | memoryview
Offload = tuple[int, int, int]
"""`gso_type`, `gso_size`, `csum_start` of virtio_net_hdr."""
Device = tuple[Buffer, int, int, int, int, int, bool]
"""A packet of the device, then the fields of virtio_net_hdr: gso_type, gso_size, hdr_len, csum_start, csum_offset, and
whether a checksum is left to us."""
Item = tuple[int, int, int, int, int, int, int, int]
"""Begin and end in the arena; bytes and number of packets received; gso_type, gso_size, header_bytes, csum_start."""
Sealed = tuple[bytes, list[tuple[int, int, int]], int, int]
"""Arena; runs of slots (begin, end, bytes from slot to slot); bytes of inner packets; packets that cannot be cut."""
Received = tuple[bytes, list[Item], tuple[int, int], tuple[int, bool], tuple[int, int, int]]
"""Arena; items; (buffer, offset) where the run ended; (authentic bytes, data came); (replays, forged, bad inner)."""


class NativeTransport(Protocol):
    """A key pair at work, from any thread. The interpreter lock is given away during every call that does work."""

    @property
    def sent(self) -> int: ...

    def room(self, count: int, /) -> bool: ...

    def may_open(self, counter: int, /) -> bool: ...

    def seal_slots(self, slots: memoryview, stride: int, /) -> None: ...

    def open(self, packet: memoryview, counter: int, /) -> bool: ...

    def seal(self, packets: Sequence[Device], mtu: int, /) -> Sealed | None:
        """Cut and seal packets in order; None, and nothing sealed: the message limit."""
        ...

    def open_run(
        self,
        batches: Sequence[tuple[memoryview, int]],
        offset: int,
        skip: int,
        join: bool,
        /,
    ) -> Received:
        """Open messages with the same first `skip` + 8 bytes, from `offset` of the first buffer on; join TCP."""
        ...


class Native(Protocol):
    """The extension module."""

    def Transport(  # the name of the class in the extension
        self, send: bytes, receive: bytes, remote_index: int, limit: int, window_bits: int, /
    ) -> NativeTransport: ...

    def cut_super(self, data: Buffer, offload: Offload, mtu: int, /) -> tuple[bytes, int, list[int]]: ...

    def join(self, packets: Sequence[Buffer], /) -> tuple[bytes, list[Item]]: ...


@cache
def _find() -> tuple[Native | None, str]:
    try:
        return cast(Native, importlib.import_module("appliance.native._native")), ""
    except ImportError as error:
        built = any(Path(__file__).parent.glob("_native*.so"))
        return None, f"the native module does not load: {error}" if built else "the native module is not built"


def load() -> Native | None:
    """The extension module, None when it cannot be had; `problem` says why."""
    return _find()[0]


def problem() -> str:
    """Why `load` gives nothing; "" when it does."""
    return _find()[1]
