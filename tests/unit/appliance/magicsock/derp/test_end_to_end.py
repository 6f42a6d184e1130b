"""Pool clients through a real server over TLS with a pinned certificate, on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.crypto.x25519 import public_key
from appliance.drivers.streams import SocketDialer
from appliance.magicsock.derp.pool import DerpClientPool
from appliance.ports.clock import SystemClock
from appliance.ports.randomness import SystemRandomness
from appliance.types.ids import RegionId
from appliance.types.keys import DerpPrivateKey, NodePrivateKey, NodePublicKey
from appliance.types.netmap import DerpMap, DerpNode, DerpRegion
from control.derp.server import DerpServer
from control.tls import ServerTls

HOME = RegionId(900)


class Net:
    """A server, and pools that know it by its pin."""

    def __init__(self, server: DerpServer, port: int, cert_name: str, sink: Callable[[], Any]) -> None:
        self.server = server
        self.port = port
        self.cert_name = cert_name
        self.pools: list[DerpClientPool] = []
        self._sink = sink

    def derp_map(self, **changes: object) -> DerpMap:
        fields = {"host_name": "127.0.0.1", "cert_name": self.cert_name, "derp_port": self.port} | changes
        node = DerpNode("900a", HOME, **fields)  # type: ignore[arg-type]  # keyword table
        return DerpMap({HOME: DerpRegion(HOME, "own", "Own", (node,))})

    def join(self, seed: int, derp_map: DerpMap | None = None) -> tuple[DerpClientPool, Any, NodePublicKey]:
        private = NodePrivateKey(bytes((seed,)) * 32)
        sink = self._sink()
        pool = DerpClientPool(SocketDialer(mark=0), SystemClock(), SystemRandomness(), sink)
        self.pools.append(pool)
        pool.set_private_key(private)
        pool.set_derp_map(derp_map or self.derp_map())
        pool.set_home(HOME)
        return pool, sink, public_key(private)


class Sink:
    def __init__(self) -> None:
        self.packets: list[tuple[NodePublicKey, bytes]] = []
        self.gone: list[tuple[NodePublicKey, bool]] = []
        self.connected = 0

    def derp_received(self, region: RegionId, source: NodePublicKey, packets: Any) -> None:
        self.packets += [(source, packet) for packet in packets]

    def derp_peer_gone(self, region: RegionId, peer: NodePublicKey, not_here: bool) -> None:
        self.gone.append((peer, not_here))

    def derp_connected(self, region: RegionId) -> None:
        self.connected += 1

    def derp_disconnected(self, region: RegionId, error: str) -> None:
        self.connected -= 1


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[Net]:
    clock, randomness = SystemClock(), SystemRandomness()
    server = DerpServer(DerpPrivateKey(b"\x20" * 32), randomness, clock)
    tls = ServerTls.self_signed(tmp_path / "derp.pem", ["127.0.0.1"], clock, randomness, server.public_key)
    made = Net(server, await server.listen("127.0.0.1", 0, tls.context), tls.cert_name, Sink)
    yield made
    for pool in made.pools:
        await pool.close()
    await server.stop()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_ok__two_nodes_talk_and_one_leaves(net: Net) -> None:
    one, one_sink, one_key = net.join(1)
    two, two_sink, two_key = net.join(2)
    await until(lambda: one_sink.connected and two_sink.connected)
    assert one.send(two_key, HOME, [b"hello", bytes(1400)])
    await until(lambda: len(two_sink.packets) == 2)
    assert two_sink.packets == [(one_key, b"hello"), (one_key, bytes(1400))]
    assert two.send(one_key, RegionId(0), [b"back"])
    await until(lambda: one_sink.packets == [(two_key, b"back")])
    assert net.server.metrics()["current_home_connections"] == 2
    await one.close()
    await until(lambda: two_sink.gone == [(one_key, False)])
    assert not two.send(one_key, RegionId(0), [b"nobody"])
    measured = await two.measure_https(HOME)
    assert measured is not None
    assert 0 < measured < 1


async def test_ok__fast_start_is_used(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    adopted: list[bool] = []
    adopt = net.server.adopt

    def record(transport: Any, leftover: bytes, *, answer_upgrade: bool) -> None:
        adopted.append(answer_upgrade)
        adopt(transport, leftover, answer_upgrade=answer_upgrade)

    monkeypatch.setattr(net.server, "adopt", record)
    _, sink, _ = net.join(1)
    await until(lambda: sink.connected)
    assert adopted == [False]


async def test_ok__large_transfer_arrives_in_order(net: Net) -> None:
    one, one_sink, _ = net.join(1)
    _, two_sink, two_key = net.join(2)
    await until(lambda: one_sink.connected and two_sink.connected)
    for start in range(0, 600, 20):
        one.send(two_key, HOME, [number.to_bytes(4, "big") + bytes(1200) for number in range(start, start + 20)])
        await until(lambda wanted=start + 20: len(two_sink.packets) == wanted)
    numbers = [int.from_bytes(packet[:4], "big") for _, packet in two_sink.packets]
    assert numbers == list(range(600))


async def test_ok__server_restart_is_survived(net: Net) -> None:
    one, sink, key = net.join(1)
    await until(lambda: sink.connected)
    net.server.close_peer(key)
    await until(lambda: not sink.connected)
    await until(lambda: sink.connected)
    assert one.connected_regions() == [HOME]


async def test_ok__garbage_does_no_harm(net: Net) -> None:
    one, one_sink, one_key = net.join(1)
    await until(lambda: one_sink.connected)
    for data in (
        b"\x00" * 20_000,
        b"GET /derp HTTP/1.1\r\nUpgrade: DERP\r\n\r\n",
        b"\x16\x03\x01\xff\xff" + bytes(500),
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", net.port)
        writer.write(data)
        await writer.drain()
        writer.transport.abort()
    one.send(one_key, HOME, [b"still here"])
    await until(lambda: one_sink.packets == [(one_key, b"still here")])


async def test_fail__another_pin_is_refused(net: Net) -> None:
    pool, sink, _ = net.join(1, net.derp_map(cert_name="sha256-raw:" + "00" * 32))
    await until(lambda: pool.last_error(HOME))
    assert "not the pinned one" in pool.last_error(HOME)
    assert not sink.connected
