"""Small networks to tell stories with."""

from __future__ import annotations

from appliance.types.ids import RegionId
from tests.sim.nat import Nat
from tests.sim.network import Host, Quality, Realm
from tests.sim.node import SimNode
from tests.sim.servers import Control, DerpWorld, Region
from tests.sim.world import World


class Story:
    """An Internet with DERP regions, mostly one; sites are added one by one. A failed test prints the timeline."""

    def __init__(self, seed: int | str = "story", regions: int = 1) -> None:
        self.world = World(seed)
        self.internet = Realm(self.world, Quality(0.010))
        self.derp = DerpWorld(
            self.world,
            self.internet,
            [Region(RegionId(900 + i), f"203.0.113.{i + 1}", 0.02) for i in range(regions)],
        )
        self.control = Control(self.world, self.derp.derp_map())
        self.nodes: list[SimNode] = []
        self.nats: dict[SimNode, Nat] = {}

    def lan(self, number: int, **nat: object) -> tuple[Realm, Nat]:
        lan = Realm(self.world, Quality(0.001))
        return lan, Nat(self.world, lan, self.internet, f"198.51.100.{number}", **nat)

    def node(self, lan: Realm, ip: str, nat: Nat | None = None) -> SimNode:
        number = len(self.nodes) + 1
        node = SimNode(self.world, f"n{number}", number, Host(self.world, lan, ip), self.derp, self.control)
        self.nodes.append(node)
        if nat is not None:
            self.nats[node] = nat
        return node

    def site(self, **nat: object) -> SimNode:
        """A node behind a NAT of its own."""
        number = len(self.nodes) + 1
        lan, made = self.lan(number, **nat)
        return self.node(lan, f"192.168.{number}.10", made)

    def public(self) -> SimNode:
        return self.node(self.internet, f"192.0.2.{len(self.nodes) + 1}")

    def talk(self, a: SimNode, b: SimNode, every: float = 0.1) -> None:
        a.talk_to(b, every)
        b.talk_to(a, every)

    def direct(self, a: SimNode, b: SimNode, within: float = 5.0) -> bool:
        return self.world.run_until(lambda: a.direct_to(b) and b.direct_to(a), within)

    def two_direct(self, every: float = 0.1) -> tuple[SimNode, SimNode]:
        """Two easy sites that talk directly."""
        a, b = self.site(), self.site()
        self.world.run(1)
        self.talk(a, b, every)
        assert self.direct(a, b)
        return a, b
