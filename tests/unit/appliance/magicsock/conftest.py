"""A rig around the sans-IO machines: two identities, an outbox that can be read, opened disco messages."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

import pytest

from appliance.crypto.x25519 import clamp, public_key
from appliance.magicsock.context import PathContext
from appliance.magicsock.outbox import Outbox, Publish, SendDatagram, SendDerp, SetPath
from appliance.magicsock.peer import PeerPaths
from appliance.ports.randomness import SeededRandomness
from appliance.ports.underlay import PeerPath
from appliance.proto.disco import DiscoKeys, Message
from appliance.types.addresses import AddrPort
from appliance.types.ids import NodeId, RegionId, StableNodeId
from appliance.types.keys import DiscoPrivateKey, NodePrivateKey, NodePublicKey
from appliance.types.netmap import DerpMap, DerpNode, DerpRegion, Node


def disco_keys(seed: int) -> DiscoKeys:
    return DiscoKeys(DiscoPrivateKey(clamp(bytes([seed]) * 32)))


def node_key(seed: int) -> NodePublicKey:
    return public_key(NodePrivateKey(clamp(bytes([seed + 100]) * 32)))


@dataclass(frozen=True)
class Sent:
    """One sealed message, opened by its receiver; `to` None = by DERP."""

    to: AddrPort | None
    message: Message


class Rig:
    """We have disco key 1, the peer has disco key 2 and lives in region 1."""

    START = 1000.0

    def __init__(self) -> None:
        self.ours = disco_keys(1)
        self.theirs = disco_keys(2)
        self.randomness = SeededRandomness("rig")
        self.outbox = Outbox(self.ours, self.randomness)
        self.context = PathContext(self.outbox)
        self.context.node_key = node_key(1)
        self.now = self.START
        self.paths: list[PeerPath] = []
        self.events: list[object] = []
        self.other: list[object] = []

    def node(self, number: int = 2, **changes: object) -> Node:
        values: dict[str, object] = {
            "disco_key": disco_keys(number).public,
            "home_derp": RegionId(1),
            "addresses": (IPv4Network(f"100.64.0.{number}/32"),),
            "endpoints": (AddrPort("192.0.2.2", 41641),),
        }
        values.update(changes)
        return Node(NodeId(number), StableNodeId(f"n{number}"), f"n{number}.example.", node_key(number), **values)

    def peer(self, **changes: object) -> PeerPaths:
        return PeerPaths(self.node(**changes), self.context, self.now)

    def take(self) -> list[Sent]:
        """Disco messages since the last look; paths and events go to `paths` and `events`."""
        return self.read(self.outbox.next_action)

    def read(self, next_action) -> list[Sent]:
        sent = []
        while (action := next_action()) is not None:
            match action:
                case SendDatagram(to, data) if data.startswith(b"TS"):
                    sent.append(Sent(to, self.theirs.open(data)[1]))
                case SendDerp(_, _, data):
                    sent.append(Sent(None, self.theirs.open(data)[1]))
                case SetPath(_, path):
                    self.paths.append(path)
                case Publish(event):
                    self.events.append(event)
                case _:
                    self.other.append(action)
        return sent

    def from_peer(self, message: Message) -> bytes:
        return self.theirs.seal(self.ours.public, message, self.randomness.bytes(24))

    def run_timers(self, machine, until: float) -> list[Sent]:
        """Let the machine's timers fire up to `until`; what it sent."""
        sent = []
        while (at := machine.next_timer()) is not None and at <= until:
            self.now = max(self.now, at)
            machine.handle_timer(self.now)
            sent += self.take()
        self.now = until
        return sent

    @staticmethod
    def derp_map(*ids: int, **changes: object) -> DerpMap:
        def region(number: int) -> DerpRegion:
            node = DerpNode(
                f"{number}a", RegionId(number), f"d{number}.example", ipv4=f"203.0.113.{number}", ipv6="none"
            )
            return DerpRegion(RegionId(number), f"r{number}", f"R{number}", (node,), **changes)

        return DerpMap({RegionId(number): region(number) for number in ids})


@pytest.fixture
def rig() -> Rig:
    return Rig()
