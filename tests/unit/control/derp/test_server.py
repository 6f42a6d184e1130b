"""The DERP server over loopback: delivery, duplicates, PeerGone, deadlines, caps, hostile clients (derp spec 3)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from appliance.proto.derp.client import (
    Connected,
    DerpClient,
    PacketsReceived,
    PeerLeft,
    PongReceived,
    ServerRestarting,
)
from appliance.proto.derp.frames import KeepAlive, WatchConns, encode_frame
from appliance.proto.disco.packet import MAGIC
from appliance.types.errors import ControlError
from appliance.types.keys import NodePublicKey
from control.derp.server import RECONNECT_SPREAD_MS, DerpLimits
from control.derp.throttle import Rate

DISCO = MAGIC + bytes(56)
STRANGER = NodePublicKey(b"\x77" * 32)


async def test_ok__packets_reach_the_other_in_order(relaying: Any) -> None:
    one, two = await relaying.connect(1), await relaying.connect(2)
    await one.send(two.key, b"a", b"b", DISCO)
    got: list[bytes] = []
    while len(got) < 3:
        event = await two.event()
        assert isinstance(event, PacketsReceived)
        assert event.source == one.key
        got += event.packets
    assert [packet for packet in got if packet != DISCO] == [b"a", b"b"]
    metrics = relaying.server.metrics()
    assert (metrics["packets_received"], metrics["packets_sent"], metrics["current_connections"]) == (3, 3, 2)


async def test_ok__own_packets_come_back(relaying: Any) -> None:
    one = await relaying.connect(1)
    await one.send(one.key, b"echo")
    assert await one.event() == PacketsReceived(one.key, (b"echo",))


async def test_ok__fast_start_and_early_frames(relaying: Any) -> None:
    one = await relaying.dial(1)
    one.machine = DerpClient(one.private, "derp.test", bytes(24), 0.0, server=relaying.server.public_key)
    one.machine.note_preferred(True)
    one.machine.ping(b"12345678")
    assert isinstance(await one.event(), Connected)
    assert await one.event() == PongReceived(b"12345678")
    assert relaying.server.metrics()["current_home_connections"] == 1


async def test_ok__last_writer_is_active(relaying: Any) -> None:
    old, new, other = await relaying.connect(1), await relaying.connect(1), await relaying.connect(2)
    assert relaying.server.metrics()["current_dup_client_keys"] == 1
    await other.send(old.key, b"to the newcomer")
    assert await new.event() == PacketsReceived(other.key, (b"to the newcomer",))
    await old.settle()
    await other.send(old.key, b"to the last writer")
    assert await old.event() == PacketsReceived(other.key, (b"to the last writer",))
    old.close()
    await relaying.until(lambda: relaying.server.metrics()["current_connections"] == 2)
    await other.send(old.key, b"to the rest")
    assert await new.event() == PacketsReceived(other.key, (b"to the rest",))


async def test_ok__peer_gone_once_and_only_to_who_heard_of_it(relaying: Any) -> None:
    sender, receiver, bystander = [await relaying.connect(seed) for seed in (1, 2, 3)]
    await sender.send(receiver.key, b"x")
    await receiver.event()
    twin = await relaying.connect(1)
    sender.close()
    await relaying.until(lambda: relaying.server.metrics()["current_connections"] == 3)
    assert relaying.server.counters.peer_gone_disconnected == 0
    twin.close()
    assert await receiver.event() == PeerLeft(sender.key, False)
    await bystander.settle()
    assert relaying.server.counters.peer_gone_disconnected == 1


async def test_ok__not_here_answers_disco_only_and_is_limited(relaying: Any) -> None:
    one = await relaying.connect(1)
    await one.send(STRANGER, b"wireguard", *[DISCO] * 5)
    events = [await one.event() for _ in range(3)]
    assert events == [PeerLeft(STRANGER, True)] * 3
    await one.settle()
    metrics = relaying.server.metrics()
    assert metrics['packets_dropped{reason="unknown_dest",kind="disco"}'] == 5
    assert metrics['packets_dropped{reason="unknown_dest",kind="other"}'] == 1
    assert metrics["peer_gone_not_here"] == 3
    relaying.clock.advance(1.0)
    await one.send(STRANGER, DISCO)
    assert await one.event() == PeerLeft(STRANGER, True)


async def test_ok__keepalive_every_minute(relaying: Any) -> None:
    one = await relaying.connect(1)
    relaying.clock.advance(59.0)
    relaying.server.handle_timers(relaying.clock.now())
    await one.settle()
    for _ in range(2):
        relaying.clock.advance(66.5)
        relaying.server.handle_timers(relaying.clock.now())
        assert await one.reader.readexactly(5) == encode_frame(KeepAlive())


async def test_ok__slow_reader_does_not_delay_others_and_is_ended(relaying: Any) -> None:
    sender, slow, quick = [await relaying.connect(seed) for seed in (1, 2, 3)]
    packet = bytes(60_000)
    while not relaying.server.stalled:
        await sender.send(slow.key, *[packet] * 20)
        await sender.settle()
    await sender.send(slow.key, *[packet] * 100)
    await sender.send(quick.key, b"quick")
    assert await quick.event() == PacketsReceived(sender.key, (b"quick",))
    assert relaying.server.metrics()['packets_dropped{reason="queue_head",kind="other"}'] >= 60
    # The kernel may go on taking bytes for a while: each look that finds progress starts the two seconds anew.
    waited_s = 0.0
    while relaying.server.counters.write_timeouts == 0:
        relaying.clock.advance(0.5)
        waited_s += 0.5
        relaying.server.handle_timers(relaying.clock.now())
        await sender.settle()
    assert waited_s > 2
    await relaying.until(lambda: relaying.server.metrics()["current_connections"] == 2)
    assert relaying.server.counters.write_timeouts == 1
    assert not relaying.server.stalled


async def test_ok__paused_receiver_goes_on_where_it_stopped(relaying: Any) -> None:
    sender, slow = await relaying.connect(1), await relaying.connect(2)
    while not relaying.server.stalled:
        await sender.send(slow.key, *[bytes(60_000)] * 20)
        await sender.settle()
    await sender.send(slow.key, *[b"last"] * 32)
    await sender.settle()
    last: list[bytes] = []
    while len(last) < 32:
        event = await slow.event()
        last += [packet for packet in event.packets if packet == b"last"]
    assert not relaying.server.stalled


async def test_ok__a_burst_beyond_the_queue_is_delivered_while_the_kernel_takes_it(relaying: Any) -> None:
    sender, receiver = await relaying.connect(1), await relaying.connect(2)
    await sender.send(receiver.key, *[bytes(1000)] * 150)
    count = 0
    while count < 150:
        count += len((await receiver.event()).packets)
    assert relaying.server.metrics()["packets_sent"] == 150


async def test_ok__admission(start: Any) -> None:
    asked: list[tuple[NodePublicKey, str]] = []

    async def admit(key: NodePublicKey, ip: str) -> bool:
        asked.append((key, ip))
        await asyncio.sleep(0)
        return len(asked) == 1

    relaying = await start(admit=admit)
    one = await relaying.connect(1)
    two = await relaying.dial(2)
    assert await two.ended()
    assert asked == [(one.key, "127.0.0.1"), (two.key, "127.0.0.1")]
    assert relaying.server.metrics()['closed{reason="not_admitted"}'] == 1


async def test_ok__close_peer(relaying: Any) -> None:
    one, other = await relaying.connect(1), await relaying.connect(2)
    assert relaying.server.close_peer(one.key) == 1
    assert await one.ended()
    await other.settle()
    assert relaying.server.relay.keys() == [other.key]
    assert relaying.server.close_peer(one.key) == 0


async def test_ok__stop_ends_clients(relaying: Any) -> None:
    one = await relaying.connect(1)
    await relaying.server.stop()
    assert await one.ended()
    with pytest.raises(ConnectionError):
        await relaying.dial(2)


async def test_ok__home_moves_are_counted_after_settling(relaying: Any) -> None:
    one = await relaying.connect(1)
    one.machine.note_preferred(True)
    await one.settle()
    assert relaying.server.counters.home_moves == 0
    relaying.clock.advance(6.0)
    one.machine.note_preferred(False)
    await one.settle()
    assert relaying.server.counters.home_moves == 1
    assert relaying.server.metrics()["current_home_connections"] == 0


async def test_fail__admission_that_breaks_refuses(start: Any) -> None:
    async def admit(key: NodePublicKey, ip: str) -> bool:
        raise ControlError("no database")

    relaying = await start(admit=admit)
    one = await relaying.dial(1)
    assert await one.ended()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x04\x00\x00\x00\x05short", "bad_frame"),
        (b"\x07\x00\x00\x00\x02xx", "bad_frame"),
        (b"\xff\xff\xff\xff\xff", "bad_frame"),
        (encode_frame(WatchConns()), "not_mesh"),
    ],
)
async def test_fail__bad_frames_end_the_connection(relaying: Any, data: bytes, reason: str) -> None:
    one, other = await relaying.connect(1), await relaying.connect(2)
    one.writer.write(data)
    assert await one.ended()
    assert relaying.server.metrics()[f'closed{{reason="{reason}"}}'] == 1
    await other.settle()


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" * 40, b"\x00" * 9000, b"GET\r\n\r\n"])
async def test_fail__garbage_to_the_port(relaying: Any, data: bytes) -> None:
    other = await relaying.connect(2)
    reader, writer = await asyncio.open_connection("127.0.0.1", relaying.port)
    writer.write(data + b"\r\n\r\n")
    assert b"101" not in await reader.read()
    writer.transport.abort()
    await other.settle()
    assert relaying.server.metrics()["current_unregistered"] == 0


async def test_fail__garbage_after_the_upgrade(relaying: Any) -> None:
    one = await relaying.dial(1)
    await one.flush()
    one.writer.write(b"\xff" * 200)
    assert await one.reader.read(12) == b"HTTP/1.1 101"
    await relaying.until(lambda: relaying.server.metrics().get('closed{reason="bad_handshake"}') == 1)


async def test_fail__silence_before_registration(relaying: Any) -> None:
    mute, mute_writer = await asyncio.open_connection("127.0.0.1", relaying.port)
    half = await relaying.dial(1)
    await half.flush()
    await half.reader.readuntil(b"\r\n\r\n")
    relaying.clock.advance(11.0)
    relaying.server.handle_timers(relaying.clock.now())
    assert await half.ended()
    relaying.clock.advance(20.0)
    relaying.server.handle_timers(relaying.clock.now())
    with contextlib.suppress(ConnectionError):
        assert await mute.read() == b""
    mute_writer.transport.abort()
    assert relaying.server.metrics()["current_unregistered"] == 0


async def test_fail__too_many_unregistered_of_one_address(start: Any) -> None:
    relaying = await start(limits=DerpLimits(unregistered_per_ip=2))
    first = [await asyncio.open_connection("127.0.0.1", relaying.port) for _ in range(2)]
    await relaying.until(lambda: relaying.server.metrics()["current_unregistered"] == 2)
    third = await relaying.dial(3)
    assert await third.ended()
    for _, writer in first:
        writer.transport.abort()
    await relaying.until(lambda: relaying.server.metrics()["current_unregistered"] == 0)
    await relaying.connect(3)


async def test_fail__no_upgrade_asked(relaying: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", relaying.port)
    writer.write(b"GET /derp HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 426 ")
    writer.transport.abort()


async def test_ok__a_server_that_stops_says_when_to_come_back(start: Any) -> None:
    relaying = await start()
    one = await relaying.connect(1)
    await relaying.server.stop()
    event = await one.event()
    assert isinstance(event, ServerRestarting)
    assert 0 <= event.reconnect_in_ms <= RECONNECT_SPREAD_MS
    assert event.try_for_ms > RECONNECT_SPREAD_MS
    assert await one.ended()


async def test_ok__a_client_above_its_rate_is_slowed_and_nobody_else(start: Any) -> None:
    relaying = await start(limits=DerpLimits(client=Rate(2_000_000, 65_568)))
    fast, slow, other = await relaying.connect(1), await relaying.connect(2), await relaying.connect(3)
    await fast.send(other.key, *(bytes(1000) for _ in range(200)))
    await slow.send(other.key, b"in between")
    seen = 0
    while not seen:
        event = await other.event()
        if isinstance(event, PacketsReceived) and event.source == slow.key:
            seen += 1
    await fast.settle()
    assert relaying.server.metrics()["reads_delayed"] > 0
    assert not [name for name in relaying.server.metrics() if "rate" in name]


async def test_fail__connections_that_come_too_fast_are_closed(start: Any) -> None:
    relaying = await start(limits=DerpLimits(accepts_per_s=1))
    for seed in (1, 2):
        await relaying.connect(seed)
    three = await relaying.dial(3)
    assert await three.ended()
    assert relaying.server.metrics()['closed{reason="too_fast"}'] == 1
    relaying.clock.advance(2)
    await relaying.connect(4)
