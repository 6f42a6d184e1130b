"""A connection without a network: what is written stays here."""

from __future__ import annotations

import asyncio


class Wire(asyncio.Transport):
    """Keeps what is written, and remembers whether it was cut."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = False
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.cut

    def abort(self) -> None:
        self.cut = True

    close = abort
