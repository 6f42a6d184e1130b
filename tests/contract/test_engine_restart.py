"""What an engine takes over from the run before: timestamps both ways, and peers that still use its old session."""

from __future__ import annotations

import itertools

from appliance.engine.userspace import UserspaceEngine
from appliance.ports.engine import EngineDiff
from appliance.ports.packets import one
from appliance.ports.underlay import PeerPath
from tests.contract.packets import udp
from tests.contract.world import PORT, Node, World


async def restarted(world: World, node: Node, other: Node) -> None:
    """Another process with the same identity, which has stored what it must."""
    old = node.engine
    await old.close()
    node.tun = type(node.tun)(mtu=1280)
    node.engine = UserspaceEngine(
        node.tun,
        node._open,
        world.clock,
        world.randomness,
        port=PORT,
        loop=world.loop,
        step=world.step,
        last_timestamp=old.last_timestamp,
        greatest_timestamps=dict(old.greatest_timestamps),
    )
    node.engine.set_sink(node.sink)
    await node.engine.start()
    await node.engine.apply(EngineDiff(node.private, replace=True, upsert=(other.as_peer(),)))
    node.engine.set_path(other.key, PeerPath(direct=other.addr))


async def test_ok__a_greeted_peer_leaves_the_session_that_is_gone(world: World) -> None:
    a, b = await world.pair()
    packet = udp(b.v4, a.v4, b"to a")
    b.push(packet)
    assert a.got() == [packet]
    await restarted(world, a, b)
    world.advance(1.0)
    b.push(packet)
    assert a.got() == []  # sealed with keys that nobody has any more
    await a.engine.apply(EngineDiff(greet=(b.key,)))
    world.carry()
    b.push(packet)
    assert a.got() == [packet]


async def test_ok__greeting_leaves_a_session_alone(world: World) -> None:
    a, b = await world.pair()
    a.push(udp(a.v4, b.v4, b"x"))
    world.advance(30.0)
    before = len(world.sent)
    await a.engine.apply(EngineDiff(greet=(b.key,)))
    world.carry()
    assert len(world.sent) == before


async def test_ok__timestamps_rise_over_a_restart_with_an_older_clock(world: World) -> None:
    a, b = await world.pair()
    a.push(udp(a.v4, b.v4, b"x"))
    assert len(b.got()) == 1
    world.clock.jump_wall(-400 * 86400)
    await restarted(world, a, b)
    world.advance(1.0)
    packet = udp(a.v4, b.v4, b"a year ago")
    a.push(packet)
    assert b.got() == [packet]


async def test_fail__an_initiation_recorded_before_the_restart_is_refused(world: World) -> None:
    a, b = await world.pair()
    a.push(udp(a.v4, b.v4, b"x"))
    sent = [bytes(batch.buffer) for _, to, batch in world.sent if to == b.addr]
    initiation = next(datagram for datagram in sent if datagram[0] == 1)
    await restarted(world, b, a)
    world.advance(1.0)
    before = b.engine.counters().get("old_timestamp", 0)
    for port in b.ports:
        port.deliver(a.addr, one(initiation))
    assert b.engine.counters()["old_timestamp"] > before
    assert not list(itertools.chain(b.sink.wanted))
