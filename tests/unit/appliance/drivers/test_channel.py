"""The channel over a real socket pair."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from appliance.drivers.channel import HEADER, MAX_WAITING_BYTES, FrameReader, SocketChannel
from appliance.ports.channels import ChannelClosed


@pytest.fixture
async def pair():
    first, second = socket.socketpair()
    channels = SocketChannel(first), SocketChannel(second, max_message_bytes=4_000_000)
    yield channels
    for channel in channels:
        channel.close()


async def test_ok__messages_in_order_and_whole(pair) -> None:
    first, second = pair
    sent = [os.urandom(size) for size in (0, 1, 70_000, 3_000_000, 5)] * 3
    for data in sent:
        first.post(data)
    assert [(await second.receive())[0] for _ in sent] == sent


async def test_ok__descriptors_travel_with_their_message(pair) -> None:
    first, second = pair
    read, write = os.pipe()
    first.post(b"none")
    first.post(b"x" * 100_000, [write])
    first.post(b"none")
    got = [await second.receive() for _ in range(3)]
    assert [len(descriptors) for _, descriptors in got] == [0, 1, 0]
    received = got[1][1][0]
    os.write(received, b"hello")
    assert os.read(read, 10) == b"hello"
    os.close(received)
    assert os.read(read, 10) == b"", "the sender's own descriptor is closed"
    os.close(read)


async def test_ok__what_arrived_before_the_end_is_received(pair) -> None:
    first, second = pair
    for number in range(200):
        first.post(b"%d" % number)
    first.close()
    assert [int((await second.receive())[0]) for _ in range(200)] == list(range(200))
    with pytest.raises(ChannelClosed):
        await second.receive()
    with pytest.raises(ChannelClosed):
        second.post(b"late")


async def test_ok__close_wakes_the_reader(pair) -> None:
    first, _ = pair
    waiting = asyncio.ensure_future(first.receive())
    await asyncio.sleep(0)
    first.close()
    with pytest.raises(ChannelClosed):
        await waiting


async def test_fail__peer_that_does_not_read_cannot_fill_memory() -> None:
    ours, theirs = socket.socketpair()
    channel = SocketChannel(ours)
    block = bytes(1_000_000)

    def flood() -> None:
        for _ in range(MAX_WAITING_BYTES // len(block) + 3):
            channel.post(block)

    with pytest.raises(ChannelClosed):
        flood()
    channel.close()
    theirs.close()


@pytest.mark.parametrize("header", [HEADER.pack(5_000_000, 0), HEADER.pack(1, 5), HEADER.pack(0, 1)])
async def test_fail__hostile_header_ends_the_channel(header: bytes) -> None:
    ours, theirs = socket.socketpair()
    channel = SocketChannel(ours, max_message_bytes=4_000_000)
    theirs.send(header)
    with pytest.raises(ChannelClosed):
        await channel.receive()
    channel.close()
    theirs.close()


def test_ok__reader_takes_single_bytes() -> None:
    reader = FrameReader()
    for byte in HEADER.pack(3, 0) + b"abc":
        assert reader.next_message() is None
        reader.feed(bytes([byte]), [])
    assert reader.next_message() == (b"abc", [])
