"""Gathers the facts of this gateway's network and has them looked at (`appliance.checks`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from pathlib import Path

from appliance.checks import machine, network
from appliance.checks.network import NetworkFacts
from appliance.checks.runner import Look, examine
from appliance.daemon.applier import ChangeApplier, Situation
from appliance.daemon.dns_facts import dns_facts
from appliance.daemon.overlay import served_routes
from appliance.daemon.parts import Core
from appliance.drivers.icmp import IcmpPinger
from appliance.drivers.streams import SocketDialer
from appliance.localapi.schema import Status
from appliance.peerapi.names import resolver_of
from appliance.router.forwarding import reaches_outside
from appliance.router.model import RouterModel
from appliance.types.events import PathKind
from appliance.types.findings import Finding
from appliance.types.netmap import Node

CHECKS = (
    network.control,
    network.relay,
    network.udp,
    network.nat,
    network.mtu,
    network.forwarding,
    network.rp_filter,
    network.dns,
    network.overlaps,
    network.approvals,
)
LIMIT_S = 10.0
PEERS = 3
"""Peers with a direct path that are measured with large packets."""
PROBE_S = 2.0
_ICMP_V4_BYTES = 28
"""IPv4 and ICMP headers of an echo."""
_PROC = Path("/proc/sys/net")
_DEVICES = Path("/sys/class/net")


class DoctorDesk:
    """`status` gives the gateway's, without peers."""

    def __init__(
        self,
        core: Core,
        situation: Situation,
        applier: ChangeApplier,
        status: Callable[[], Status],
        *,
        proc: Path = _PROC,
        devices: Path = _DEVICES,
    ) -> None:
        self._core = core
        self._situation = situation
        self._applier = applier
        self._status = status
        self._proc = proc
        self._devices = devices
        self._ping = IcmpPinger(core.clock, core.randomness, core.sockets)
        self._lookup = resolver_of(SocketDialer(mark=0, sockets=core.sockets))

    async def examine(self) -> tuple[Finding, ...]:
        """Every look, in a fixed order; takes a few seconds."""
        facts, wall_now = await self._facts(), self._core.clock.wall_now()
        looks: dict[str, Look] = {check.__name__: _pure(check, facts) for check in CHECKS}
        looks["firewall"] = self._firewall
        looks["key"] = _pure(lambda known: network.key(known, wall_now), facts)
        looks["clock"] = _pure(lambda _facts: machine.clock(is_kept=machine.clock_is_kept()), facts)
        state_dir = Path(self._core.config.daemon.state_dir)
        looks["disk"] = _pure(lambda _facts: machine.disk(state_dir, "daemon.state_dir"), facts)
        return tuple(await examine(looks, LIMIT_S))

    async def _firewall(self) -> Finding:
        return network.firewall(tuple(map(str, await self._core.router.foreign_drops())))

    async def _facts(self) -> NetworkFacts:
        status, model = self._status(), self._core.router.model or RouterModel()
        report = self._core.magicsock.last_report()
        mapping = self._core.port_mapping.result.mapping if self._core.port_mapping is not None else None
        view = self._situation.view
        own = view.self_node if view is not None else None
        uplinks = tuple(self._core.links.uplink_names())
        plugins = self._applier.plugins
        advertised = plugins.hooks.contribute_routes()
        own_name = own.name if own is not None and view is not None and view.dns.proxied else ""
        return NetworkFacts(
            forwards=model.forwards,
            forwarding={4: self._is_on("ipv4/ip_forward"), 6: self._is_on("ipv6/conf/all/forwarding")},
            strict=tuple(name for name in uplinks if reaches_outside(model) and self._is_strict(name)),
            uplink_mtus={name: size for name in uplinks if (size := self._mtu(name))},
            large_packets=await self._large_packets(),
            udp=report.udp if report is not None else None,
            router_address=mapping.external.ip if mapping is not None else "",
            seen_address=report.global_v4.ip if report is not None and report.global_v4 is not None else "",
            mapping_varies=report.mapping_varies_by_dest_ip if report is not None else None,
            attached=tuple((lan.prefix, lan.interface) for lan in self._core.links.lans()),
            refused=self._refused(advertised),
            advertised=advertised,
            approved=tuple(str(prefix) for prefix in served_routes(own)) if own is not None else None,
            key_expiry=own.key_expiry if own is not None else None,
            connected=status.control.connected,
            control_error=status.control.error,
            dns=await dns_facts(plugins, self._lookup, own_name),
            relay=status.derp.name or status.derp.region if status.derp.connected else "",
        )

    def _refused(self, advertised: tuple[str, ...]) -> Mapping[str, str]:
        """What both ends offer is a pair of routers, not a conflict."""
        refused = self._applier.selection.refused
        return {each.prefix: each.reason for each in refused if each.prefix not in advertised}

    async def _large_packets(self) -> dict[str, bool]:
        """By peer whether a packet of full size comes back; peers that answer no small one are left out."""
        async with asyncio.TaskGroup() as group:
            asked = [(node, group.create_task(self._passes(address))) for node, address in self._direct_peers()]
        results = [(node.short_name, task.result()) for node, task in asked]
        return {name: passes for name, passes in results if passes is not None}

    def _direct_peers(self) -> list[tuple[Node, IPv4Address]]:
        view = self._situation.view
        found: list[tuple[Node, IPv4Address]] = []
        for node in view.peers.values() if view is not None else ():
            path = self._core.magicsock.status(node.key)
            addresses = [p.network_address for p in node.addresses if isinstance(p.network_address, IPv4Address)]
            if path is not None and path.kind is PathKind.DIRECT and addresses:
                found.append((node, addresses[0]))
            if len(found) == PEERS:
                break
        return found

    async def _passes(self, address: IPv4Address) -> bool | None:
        if not await self._echoes(address, 16):
            return None
        return await self._echoes(address, self._core.config.tunnel.mtu - _ICMP_V4_BYTES)

    async def _echoes(self, address: IPv4Address, size: int) -> bool:
        try:
            await self._ping(address, PROBE_S, size)
        except OSError:
            return False
        return True

    def _is_on(self, key: str) -> bool | None:
        text = _read(self._proc / key)
        return text != "0" if text else None

    def _is_strict(self, name: str) -> bool:
        """The greater of all and the interface counts (1 strict, 2 loose); either of them may honour marks."""
        conf = self._proc / "ipv4/conf"
        filters = [_read(conf / each / "rp_filter") for each in ("all", name)]
        marks = [_read(conf / each / "src_valid_mark") for each in ("all", name)]
        return max(filters, default="") == "1" and "1" not in marks

    def _mtu(self, name: str) -> int:
        text = _read(self._devices / name / "mtu")
        return int(text) if text.isdecimal() else 0


def _pure(check: Callable[[NetworkFacts], Finding], facts: NetworkFacts) -> Look:
    async def look() -> Finding:
        return check(facts)

    return look


def _read(path: Path) -> str:
    """Empty when there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
