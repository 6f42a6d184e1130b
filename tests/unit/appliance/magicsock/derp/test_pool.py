"""Region choice, life of connections and back-off of the DERP pool (derp spec 7)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from appliance.crypto.x25519 import public_key
from appliance.proto.derp.frames import NotePreferred, PeerGone, RecvPacket, Restarting, SendPacket
from appliance.types.keys import NodePrivateKey, NodePublicKey
from appliance.types.netmap import DerpMap

PEER = NodePublicKey(b"\x55" * 32)


async def test_ok__home_is_dialled_noted_and_kept(world: Any) -> None:
    world.open(home=1)
    await world.told("connected", 1)
    await world.until(lambda: world.servers[1].got)
    assert world.servers[1].got == [NotePreferred(True)]
    world.pool.close_idle(world.clock.now() + 1000)
    assert world.pool.connected_regions() == [1]


async def test_ok__nothing_is_dialled_before_key_and_map(world: Any) -> None:
    world.pool.set_home(1)
    world.pool.set_derp_map(world.map)
    assert not world.pool.send(PEER, 1, [b"x"])
    await asyncio.sleep(0)
    assert not world.dialer.dialled
    world.open(home=1)
    await world.told("connected", 1)


async def test_ok__packets_wait_for_the_dial_and_the_oldest_are_dropped(world: Any) -> None:
    world.open()
    assert world.pool.send(PEER, 2, [b"%d" % number for number in range(40)])
    await world.until(lambda: len(world.servers[2].got) == 32)
    assert world.servers[2].got == [SendPacket(PEER, b"%d" % number) for number in range(8, 40)]
    world.pool.send(PEER, 2, [b"more"] * 100)
    await world.until(lambda: len(world.servers[2].got) == 132)


async def test_ok__reply_takes_the_way_the_peer_came_until_it_is_gone(world: Any) -> None:
    world.open(home=1)
    await world.told("connected", 1)
    assert not world.pool.send(PEER, 0, [b"nowhere"])
    world.servers[1].send(RecvPacket(PEER, b"hello"))
    await world.told("received", 1, PEER, (b"hello",))
    assert world.pool.send(PEER, 3, [b"back"])
    assert world.pool.send(PEER, 0, [b"again"])
    await world.until(lambda: len(world.servers[1].got) == 3)
    world.servers[1].send(PeerGone(PEER, 1))
    await world.told("gone", 1, PEER, True)
    assert not world.pool.send(PEER, 0, [b"nowhere"])
    assert world.pool.send(PEER, 3, [b"home"])
    await world.until(lambda: world.servers[3].got == [SendPacket(PEER, b"home")])


async def test_ok__open_connection_to_the_home_region_wins_over_the_reply_path(world: Any) -> None:
    world.open(home=1)
    world.pool.send(PEER, 2, [b"x"])
    await world.told("connected", 2)
    await world.told("connected", 1)
    world.servers[1].send(RecvPacket(PEER, b"hello"))
    await world.told("received", 1, PEER, (b"hello",))
    world.pool.send(PEER, 2, [b"y"])
    await world.until(lambda: world.servers[2].got == [SendPacket(PEER, b"x"), SendPacket(PEER, b"y")])


async def test_ok__broken_connection_comes_back_and_forgets_its_routes(world: Any) -> None:
    world.open(home=1)
    await world.told("connected", 1)
    world.servers[1].send(RecvPacket(PEER, b"hello"))
    await world.told("received", 1, PEER, (b"hello",))
    world.servers[1].hang_up()
    await world.told("disconnected", 1, "the server closed the connection")
    assert not world.pool.send(PEER, 0, [b"nowhere"])
    await world.until(lambda: world.servers[1].accepted == 2)
    await world.until(lambda: world.pool.connected_regions() == [1])
    assert world.pool.last_error(1) == ""


async def test_ok__refused_dial_is_repeated_and_says_why(world: Any) -> None:
    serve = world.dialer.servers.pop(("192.0.2.1", 443))
    world.open(home=1)
    await world.until(lambda: len(world.dialer.dialled) >= 3)
    assert "nothing listens on 192.0.2.1:443" in world.pool.last_error(1)
    world.dialer.servers["192.0.2.1", 443] = serve
    await world.told("connected", 1)
    assert not [event for event in world.sink.told if event[0] == "disconnected"]


async def test_ok__idle_connection_is_closed_a_minute_after_its_last_write(world: Any) -> None:
    world.open(home=1)
    world.pool.send(PEER, 2, [b"x"])
    await world.told("connected", 2)
    world.clock.advance(30.0)
    world.pool.send(PEER, 2, [b"y"])
    world.clock.advance(59.0)
    world.servers[2].send(RecvPacket(PEER, b"reads do not count"))
    await world.told("received", 2, PEER, (b"reads do not count",))
    world.pool.close_idle(world.clock.now())
    assert 2 in world.pool.connected_regions()
    world.clock.advance(1.0)
    world.pool.close_idle(world.clock.now())
    await world.told("disconnected", 2, "")
    assert world.pool.connected_regions() == [1]
    assert world.pool.last_frame_at(2) == world.clock.now() - 1.0
    assert world.pool.last_frame_at(3) is None


async def test_ok__home_move(world: Any) -> None:
    world.open(home=1)
    await world.told("connected", 1)
    world.clock.advance(500.0)
    world.pool.set_home(2)
    await world.told("connected", 2)
    await world.until(lambda: len(world.servers[1].got) == 2 and world.servers[2].got)
    assert world.servers[1].got == [NotePreferred(True), NotePreferred(False)]
    world.pool.close_idle(world.clock.now() + 59.0)
    assert set(world.pool.connected_regions()) == {1, 2}
    world.pool.close_idle(world.clock.now() + 61.0)
    assert world.pool.connected_regions() == [2]


async def test_ok__changed_region_is_dialled_again_others_stay(world: Any) -> None:
    world.open(home=1)
    world.pool.send(PEER, 2, [b"x"])
    await world.told("connected", 1)
    await world.told("connected", 2)
    changed = DerpMap({**world.map.regions, 1: replace(world.map.regions[1], name="Renamed")})
    world.pool.set_derp_map(changed)
    await world.until(lambda: world.servers[1].accepted == 2)
    world.pool.set_derp_map(DerpMap({1: changed.regions[1]}))
    await world.told("disconnected", 2, "")
    assert (world.servers[1].accepted, world.servers[2].accepted) == (2, 1)
    assert not world.pool.send(PEER, 2, [b"x"])


async def test_ok__new_key_reconnects_with_it(world: Any) -> None:
    world.open(home=1)
    await world.told("connected", 1)
    key = NodePrivateKey(b"\x12" * 32)
    world.pool.set_private_key(key)
    await world.until(lambda: world.servers[1].accepted == 2)
    await world.told("disconnected", 1, "")
    world.pool.set_private_key(NodePrivateKey(b"\x12" * 32))
    await asyncio.sleep(0)
    assert world.servers[1].accepted == 2
    assert public_key(key) != PEER


async def test_ok__rebind_keeps_what_answers_and_drops_other_interfaces(world: Any) -> None:
    world.open(home=1)
    await world.told("connected", 1)
    await world.pool.rebind(["127.0.0.1"])
    assert world.servers[1].accepted == 1
    await world.pool.rebind(["192.0.2.99"])
    await world.until(lambda: world.servers[1].accepted == 2)


async def test_ok__rebind_breaks_a_connection_that_is_silent(world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("appliance.magicsock.derp.link.PING_TIMEOUT_S", 0.01)
    world.open(home=1)
    await world.told("connected", 1)
    world.servers[1].answers_pings = False
    await world.pool.rebind()
    await world.until(lambda: world.servers[1].accepted == 2)


async def test_ok__https_latency_on_a_warm_connection(world: Any) -> None:
    world.open()
    assert await world.pool.measure_https(3) == 0.0
    assert world.servers[3].heads[0].startswith(b"GET /derp/latency-check HTTP/1.1\r\nHost: derp3.test\r\n")
    assert await world.pool.measure_https(9) is None
    del world.dialer.servers[("192.0.2.3", 443)]
    assert await world.pool.measure_https(3) is None


async def test_ok__closed_pool_dials_no_more(world: Any) -> None:
    world.open(home=1)
    await world.told("connected", 1)
    await world.pool.close()
    assert ("disconnected", 1, "") in world.sink.told
    assert not world.pool.send(PEER, 1, [b"x"])
    world.pool.set_home(2)
    assert len(world.dialer.dialled) == 1


async def test_ok__a_server_that_restarts_says_when_to_come_back(world: Any) -> None:
    world.open(home=1)
    await world.told("connected", 1)
    started = asyncio.get_running_loop().time()
    world.servers[1].send(Restarting(300, 60_000))
    world.servers[1].hang_up()
    await world.until(lambda: world.servers[1].accepted == 2)
    assert asyncio.get_running_loop().time() - started >= 0.3
    world.servers[1].hang_up()
    await world.until(lambda: world.servers[1].accepted == 3)
    assert asyncio.get_running_loop().time() - started < 5, "it holds once"
