"""One TCP stream from a peer into a LAN through the gateway's packet filter and NAT, against plain forwarding.

peer 100.64.0.2 ── waypost0 [gateway] eth1 ── 10.9.0.10 host

The cable that plays the tunnel carries no WireGuard: what is measured is what filter, marks, MSS and source NAT cost on
the way from the tunnel to the LAN. The kernel forwards in all variants; they take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

from appliance.router.model import RouterModel
from appliance.types.netmap import FilterRule, PortRange
from bench.report import line, middle
from tests.lab.mesh import command
from tests.lab.namespaces import Lab, LabError, Namespace
from tests.lab.router_host import Gateway, inside

RUNS = 5
SECONDS = 2
PEER, OWN, HOST, LAN = "100.64.0.2", "100.64.0.1", "10.9.0.10", "10.9.0.0/24"
MTU = 1280
VARIANTS: dict[str, bool | None] = {"plain": None, "snat": True, "no-snat": False}


class Way:
    """The three hosts, wired and addressed; without a router of ours they forward all the same."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.peer, self.gateway, self.host = (lab.namespace(name) for name in ("peer", "gateway", "host"))
        self._journal = directory / "router.json"
        lab.cable(self.gateway, "waypost0", self.peer, "eth0")
        lab.cable(self.gateway, "eth1", self.host, "eth0")
        self.peer.ip(f"addr add {PEER}/10 dev eth0")
        self.peer.ip(f"link set eth0 mtu {MTU}")
        self.peer.ip(f"route add {LAN} via {OWN}")
        self.gateway.ip("addr add 10.9.0.1/24 dev eth1")
        self.host.ip(f"addr add {HOST}/24 dev eth0")
        self.host.ip("route add default via 10.9.0.1")
        self.gateway.sysctl("net.ipv4.ip_forward", 1)

    def rate(self, snat: bool | None) -> float:
        """Gbit/s; None: no filter and no NAT."""
        with inside(self.gateway):
            return asyncio.run(self._measured(snat))

    async def _measured(self, snat: bool | None) -> float:
        if snat is None:
            self.gateway.ip(f"addr replace {OWN}/10 dev waypost0")
            self.gateway.ip(f"link set waypost0 mtu {MTU}")
            try:
                return await asyncio.to_thread(iperf, self.peer, self.host)
            finally:
                self.gateway.ip(f"addr del {OWN}/10 dev waypost0")
        made = Gateway(self._journal)
        await made.router.apply(model(snat))
        try:
            return await asyncio.to_thread(iperf, self.peer, self.host)
        finally:
            await made.router.close()
            await made.netlink.close()
            self.gateway.ip("link set waypost0 up")
            self.gateway.sysctl("net.ipv4.ip_forward", 1)


def model(snat: bool) -> RouterModel:
    return RouterModel(
        mtu=MTU,
        addresses=(ip_network(OWN),),
        routes=(ip_network("100.64.0.0/10"),),
        advertised=(ip_network(LAN),),
        rules=(FilterRule((PEER,), (PortRange(LAN, 0, 65535),)),),
        snat=snat,
    )


def iperf(sender: Namespace, receiver: Namespace) -> float:
    server = receiver.start("iperf3", "iperf3", "--server", "--one-off", "--bind", HOST, "--forceflush")
    server.wait_for_output("listening")
    result = command(sender, "iperf3", "--client", HOST, "--time", str(SECONDS), "--omit", "1", "--json")
    server.stop()
    server.log.unlink()
    if result.code:
        raise LabError(f"iperf3: {result.stdout[-300:]}")
    return float(result.json()["end"]["sum_received"]["bits_per_second"]) / 1e9


def run(directory: Path) -> Iterator[str]:
    with Lab(directory / "logs") as lab:
        way = Way(lab, directory)
        found: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for _ in range(RUNS):
            for name, snat in VARIANTS.items():
                found[name].append(way.rate(snat))
        plain = found.pop("plain")
        for name, rates in found.items():
            yield line(
                "routed_tcp",
                middle(rates),
                "Gbit/s",
                variant=f"{name}-mtu{MTU}",
                peer="plain forwarding",
                peer_value=middle(plain),
                runs=RUNS,
                ratios=sorted(round(one / two, 2) for one, two in zip(rates, plain, strict=True)),
            )
