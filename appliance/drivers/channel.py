"""`Channel` over a connected Unix stream socket.

A message is a header (length: 4 bytes, descriptors: 1 byte; big-endian) and its bytes; descriptors travel by
SCM_RIGHTS with the header. The receiver stops reading while its owner lags behind, so neither side can fill the
other's memory.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Sequence

from appliance.ports.channels import ChannelClosed

HEADER = struct.Struct(">IB")
MAX_DESCRIPTORS = 4
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_WAITING_BYTES = 32 * 1024 * 1024
MAX_ARRIVED = 64
_READ_BYTES = 64 * 1024


class FrameReader:
    """Cuts a stream into messages. Not tied to a loop: the launcher uses it with blocking reads."""

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._limit = max_message_bytes
        self._bytes = bytearray()
        self._descriptors: deque[int] = deque()

    def feed(self, data: bytes, descriptors: Sequence[int]) -> None:
        self._bytes += data
        self._descriptors.extend(descriptors)

    def next_message(self) -> tuple[bytes, list[int]] | None:
        """The next whole message, None when there is none yet. Raises `ChannelClosed` for one that cannot be."""
        if len(self._bytes) < HEADER.size:
            return None
        length, count = HEADER.unpack_from(self._bytes)
        if length > self._limit or count > MAX_DESCRIPTORS:
            raise ChannelClosed
        end = HEADER.size + length
        if len(self._bytes) < end:
            return None
        if len(self._descriptors) < count:
            raise ChannelClosed
        data = bytes(memoryview(self._bytes)[HEADER.size : end])
        del self._bytes[:end]
        return data, [self._descriptors.popleft() for _ in range(count)]

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.popleft())


def read_some(sock: socket.socket) -> tuple[bytes, list[int]]:
    """One recvmsg. Raises `BlockingIOError`, and `ChannelClosed` at the end of the stream."""
    try:
        data, descriptors, _flags, _address = socket.recv_fds(sock, _READ_BYTES, MAX_DESCRIPTORS)
    except BlockingIOError:
        raise
    except OSError as error:
        raise ChannelClosed from error
    if not data:
        for descriptor in descriptors:
            os.close(descriptor)
        raise ChannelClosed
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return data, descriptors


class SocketChannel:
    """Takes the socket over. `max_message_bytes` bounds what the other side may send."""

    def __init__(self, sock: socket.socket, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(max_message_bytes)
        self._arrived: deque[tuple[bytes, list[int]]] = deque()
        self._wake = asyncio.Event()
        self._waiting: deque[tuple[memoryview, Sequence[int]]] = deque()
        self._waiting_bytes = 0
        self._closed = False
        self._ended = False
        self._reading = True
        self._loop.add_reader(sock, self._readable)

    # --- sending

    def post(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        if self._closed or self._ended or self._waiting_bytes > MAX_WAITING_BYTES:
            _close_all(descriptors)
            raise ChannelClosed
        message = memoryview(HEADER.pack(len(data), len(descriptors)) + data)
        self._waiting.append((message, tuple(descriptors)))
        self._waiting_bytes += len(message)
        if len(self._waiting) == 1:
            self._send()

    def _send(self) -> None:
        while self._waiting:
            message, descriptors = self._waiting[0]
            try:
                sent = (
                    socket.send_fds(self._sock, [message], list(descriptors)) if descriptors else self._plain(message)
                )
            except BlockingIOError:
                self._loop.add_writer(self._sock, self._send)
                return
            except OSError:
                self._end()
                return
            _close_all(descriptors)
            self._waiting_bytes -= sent
            if sent < len(message):
                self._waiting[0] = (message[sent:], ())
            else:
                self._waiting.popleft()
        self._loop.remove_writer(self._sock)

    def _plain(self, message: memoryview) -> int:
        return self._sock.send(message)

    # --- receiving

    async def receive(self) -> tuple[bytes, list[int]]:
        while not self._arrived:
            if self._closed or self._ended:
                raise ChannelClosed
            self._wake.clear()
            await self._wake.wait()
        message = self._arrived.popleft()
        if not self._reading and not self._ended and not self._closed and len(self._arrived) < MAX_ARRIVED // 2:
            self._reading = True
            self._loop.add_reader(self._sock, self._readable)
            self._take()
        return message

    def _readable(self) -> None:
        try:
            self._reader.feed(*read_some(self._sock))
            self._take()
        except BlockingIOError:
            return
        except ChannelClosed:
            self._end()

    def _take(self) -> None:
        try:
            while len(self._arrived) < MAX_ARRIVED:
                message = self._reader.next_message()
                if message is None:
                    break
                self._arrived.append(message)
            else:
                self._reading = False
                self._loop.remove_reader(self._sock)
        except ChannelClosed:
            self._end()
        self._wake.set()

    # --- the end

    def _end(self) -> None:
        """The other side is gone; what arrived can still be received."""
        self._ended = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._wake.set()

    def close(self) -> None:
        if self._closed:
            return
        self._end()
        self._closed = True
        self._reader.close()
        for _, descriptors in (*self._arrived, *self._waiting):
            _close_all(descriptors)
        self._arrived.clear()
        self._waiting.clear()
        self._sock.close()


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
