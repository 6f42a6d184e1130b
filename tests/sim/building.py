"""Builds a planned network in a world: realms, NATs, firewalls, hosts. What runs on the hosts is not its business."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.types.addresses import AddrPort
from tests.sim.nat import Filtering, Firewall, Nat
from tests.sim.network import Host, Quality, Realm
from tests.sim.plan import NatPlan, Plan, SitePlan
from tests.sim.world import World

CARRIER_NET = "10.99"


@dataclass
class Site:
    """`guards`: what has state between the site and the Internet and is its own."""

    plan: SitePlan
    lan: Realm
    guards: list[Nat | Firewall] = field(default_factory=list)
    edge: Firewall | None = None

    @property
    def hosts_are_global(self) -> bool:
        return not self.plan.nats


class Terrain:
    """`perfect`: wires without delay and loss, for the oracle."""

    def __init__(self, world: World, plan: Plan, *, perfect: bool = False) -> None:
        self.world, self.plan, self._perfect = world, plan, perfect
        self.internet = self._realm(Quality(plan.core_delay))
        self._carrier_realms = [self._carrier(number, carrier) for number, carrier in enumerate(plan.carriers)]
        self.sites = [self._site(number, site) for number, site in enumerate(plan.sites)]
        self.hosts = [self._host(number) for number in range(len(plan.nodes))]

    def _realm(self, quality: Quality) -> Realm:
        return Realm(self.world, Quality(0.0) if self._perfect else quality)

    def _carrier(self, number: int, plan: NatPlan) -> Realm:
        realm = self._realm(Quality(0.003))
        self._nat(plan, realm, self.internet, f"198.51.100.{200 + number}")
        return realm

    def _nat(self, plan: NatPlan, inner: Realm, outer: Realm, ip: str) -> Nat:
        return Nat(
            self.world,
            inner,
            outer,
            ip,
            mapping=plan.mapping,
            filtering=plan.filtering,
            allocation=plan.allocation,
            timeout=plan.timeout,
            hairpin=plan.hairpin,
            blocks_udp=plan.blocks_udp,
            pool=plan.pool,
            cap=plan.cap,
            step=plan.step,
            background=plan.background,
        )

    def _site(self, number: int, plan: SitePlan) -> Site:
        lan = self._realm(Quality(plan.delay, plan.jitter, plan.loss, plan.doubled, plan.mtu))
        site = Site(plan, lan)
        inner = lan
        for layer, nat in enumerate(plan.nats):
            last = layer == len(plan.nats) - 1
            outer, ip = self._outside(number, plan) if last else (self._realm(Quality(0.002)), f"10.{number}.0.2")
            site.guards.append(self._nat(nat, inner, outer, ip))
            inner = outer
        if not plan.nats or plan.v6:
            filtering = plan.firewall if plan.firewall is not None else self._default_filter(plan)
            site.edge = Firewall(self.world, lan, self.internet, filtering=filtering)
            site.guards.append(site.edge)
        return site

    def _default_filter(self, plan: SitePlan) -> Filtering:
        return Filtering.ENDPOINT_INDEPENDENT if not plan.nats else Filtering.ADDRESS_AND_PORT_DEPENDENT

    def _outside(self, number: int, plan: SitePlan) -> tuple[Realm, str]:
        if plan.carrier is not None:
            return self._carrier_realms[plan.carrier], f"{CARRIER_NET}.{plan.carrier}.{number + 2}"
        return self.internet, f"198.51.100.{number + 1}"

    def _host(self, number: int) -> Host:
        node = self.plan.nodes[number]
        site = self.sites[node.site]
        ip = f"192.0.2.{number + 1}" if site.hosts_are_global else f"192.168.{site.plan.subnet}.{node.host}"
        ip6 = f"2001:db8:{node.site + 1}::{number + 1}" if site.plan.v6 else None
        host = Host(self.world, site.lan, ip, node.port, ip6)
        if site.edge is not None:
            for address in (ip if site.hosts_are_global else None, ip6):
                if address is not None:
                    site.edge.guard(address)
        nat = self.router_of(number)
        if nat is not None and (site.plan.forwarded or self._perfect):
            nat.forward(node.port, host.local)
        return host

    def router_of(self, number: int) -> Nat | None:
        """The NAT next to the node if it forwards a port to it, by hand or on request."""
        site = self.sites[self.plan.nodes[number].site]
        nat = site.guards[0] if site.guards else None
        wanted = (site.plan.forwarded or site.plan.maps_ports) and self.first_of_site(number)
        return nat if wanted and isinstance(nat, Nat) else None

    def mapped_endpoints(self, number: int) -> tuple[AddrPort, ...]:
        """The outside of the port that is forwarded to the node, one way or the other."""
        nat = self.router_of(number)
        return () if nat is None else (AddrPort(nat.external_ip, self.plan.nodes[number].port),)

    def static_endpoints(self, number: int) -> tuple[AddrPort, ...]:
        """What an operator would tell the node: the forwarded port."""
        return self.mapped_endpoints(number) if self.plan.sites[self.plan.nodes[number].site].forwarded else ()

    def first_of_site(self, number: int) -> bool:
        site = self.plan.nodes[number].site
        return all(node.site != site for node in self.plan.nodes[:number])
