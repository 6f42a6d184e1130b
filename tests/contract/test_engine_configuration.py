"""The configuration half of `Engine` and the quiet half of `Underlay`: holds for the twins and for every engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network

import pytest

from appliance.crypto.x25519 import clamp, public_key
from appliance.engine.kernel import KernelEngine
from appliance.ports.engine import Engine, EngineDiff, EnginePeer, MemoryEngine
from appliance.ports.packets import MemoryUdpPort, Segments
from appliance.ports.underlay import PARKED, MemoryUnderlay, PeerPath, Underlay
from appliance.ports.wireguard_device import MemoryLoopbackPort, MemoryMeshPort, MemoryWireGuardDevice
from appliance.types.addresses import AddrPort
from appliance.types.keys import NodePrivateKey, NodePublicKey
from tests.contract.world import World

KEYS = [public_key(NodePrivateKey(clamp(bytes((n,)) * 32))) for n in range(1, 5)]


@dataclass
class Subject:
    engine: Engine
    underlay: Underlay


def memory(world: World) -> Subject:
    return Subject(MemoryEngine(), MemoryUnderlay())


def userspace(world: World) -> Subject:
    engine = world.node(1).engine
    return Subject(engine, engine)


def kernel(world: World) -> Subject:
    """The kernel engine over twins of what the kernel gives; `tests/qemu` runs these tests on the kernel itself."""
    engine = KernelEngine(
        MemoryWireGuardDevice(),
        MemoryLoopbackPort,
        MemoryMeshPort,
        lambda port: [MemoryUdpPort(AddrPort(host, port or 50000), _lost) for host in ("0.0.0.0", "::")],
        lambda port: [],
        lambda document: None,
        world.clock,
        port=41641,
        loop=world.loop,
    )
    return Subject(engine, engine)


def _lost(local: AddrPort, to: AddrPort, batch: Segments) -> None:
    """Nobody is there."""


@pytest.fixture(params=[memory, userspace, kernel], ids=lambda make: make.__name__)
async def subject(request: pytest.FixtureRequest, world: World) -> Subject:
    make: Callable[[World], Subject] = request.param
    made = make(world)
    await made.engine.start()
    return made


def peer(key: NodePublicKey, *prefixes: str) -> EnginePeer:
    return EnginePeer(key, tuple(ip_network(prefix) for prefix in prefixes))


async def test_ok__names_itself(subject: Subject) -> None:
    assert subject.engine.kind in {"memory", "userspace", "kernel"}
    assert subject.engine.interface == "waypost0"


async def test_ok__statistics_follow_the_diff(subject: Subject) -> None:
    await subject.engine.apply(EngineDiff(upsert=(peer(KEYS[0], "100.64.0.1/32"), peer(KEYS[1], "100.64.0.2/32"))))
    assert set(subject.engine.statistics()) == set(KEYS[:2])
    await subject.engine.apply(EngineDiff(upsert=(peer(KEYS[2]),), remove=(KEYS[0], KEYS[3])))
    assert set(subject.engine.statistics()) == {KEYS[1], KEYS[2]}
    await subject.engine.apply(EngineDiff(replace=True, upsert=(peer(KEYS[3], "100.64.0.4/32"),)))
    assert set(subject.engine.statistics()) == {KEYS[3]}
    assert subject.engine.statistics()[KEYS[3]].last_handshake is None


async def test_ok__the_same_diff_twice(subject: Subject) -> None:
    diff = EngineDiff(NodePrivateKey(clamp(bytes(32))), upsert=(peer(KEYS[0], "10.0.0.0/8"),), reset=(KEYS[0], KEYS[1]))
    await subject.engine.apply(diff)
    await subject.engine.apply(diff)
    assert set(subject.engine.statistics()) == {KEYS[0]}


async def test_ok__counters_are_numbers(subject: Subject) -> None:
    assert all(isinstance(value, int) for value in subject.engine.counters().values())


async def test_ok__at_most_one_port_of_each_version(subject: Subject) -> None:
    versions = [port.is_v6 for port in subject.underlay.local_ports()]
    assert versions
    assert len(versions) == len(set(versions))


async def test_ok__a_path_of_an_unknown_peer_is_ignored(subject: Subject) -> None:
    subject.underlay.set_path(KEYS[0], PeerPath(direct=AddrPort("192.0.2.1", 1), relay=True))
    subject.underlay.set_path(KEYS[0], PARKED)
    subject.underlay.inject(KEYS[0], [b"", b"\x04\0\0\0" + bytes(60)])
    assert KEYS[0] not in subject.engine.statistics()


async def test_ok__close_twice(subject: Subject) -> None:
    await subject.engine.close()
    await subject.engine.close()
