"""Why a packet from the tunnel passes or not, in words, from the model itself (not from the compiled table)."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.router.compile import TSMP, destination_entries, rule_protocols, source_entries
from appliance.router.destinations import ICMP, PORT_PROTOCOLS
from appliance.router.locals import local_destinations
from appliance.router.model import RouterModel
from appliance.router.ranges import ALL_PORTS, covers
from appliance.types.addresses import Address
from appliance.types.netmap import FilterRule

_NAMES = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 99: "TSMP", 132: "SCTP"}
ICMP_OPEN_TYPES = {4: (0, 3, 11, 12), 6: (1, 2, 3, 4, 129)}


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a flow, unless `established`. `port` is the destination port, `icmp_type` of ICMP only."""

    source: Address
    destination: Address
    protocol: int = 6
    port: int = 0
    icmp_type: int = 8
    established: bool = False

    def __str__(self) -> str:
        port = f" port {self.port}" if self.protocol in PORT_PROTOCOLS else ""
        name = _NAMES.get(self.protocol, f"protocol {self.protocol}")
        return f"{name} from {self.source} to {self.destination}{port}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rule` is the index of the filter rule that accepted, None where none was asked."""

    accepted: bool
    reason: str
    rule: int | None = None


def explain(model: RouterModel, packet: Packet) -> Verdict:
    """What the packet filter does with a packet that a peer sends to us or through us."""
    version = packet.destination.version
    if packet.source.version != version:
        return Verdict(False, "source and destination are of different IP versions")
    if packet.established:
        return Verdict(True, "belongs to an accepted flow, or is the reply to one of ours")
    if model.sources is not None and not any(packet.source in item for item in model.sources):
        return Verdict(False, f"the tunnel takes nothing from {packet.source}: no peer has it or routes it")
    if not covers(local_destinations(model, version), int(packet.destination)):
        return Verdict(False, f"{packet.destination} is neither an address of this node nor in a route that it serves")
    if packet.protocol == ICMP[version] and packet.icmp_type in ICMP_OPEN_TYPES[version]:
        return Verdict(True, "ICMP replies and errors always pass")
    if packet.protocol == TSMP:
        return Verdict(True, "TSMP always passes; the daemon answers it")
    if packet.protocol == 6 and any(
        (item.ip, item.port) == (str(packet.destination), packet.port) for item in model.peerapi
    ):
        return Verdict(True, "the peer API is open to every peer and authorises by itself")
    if model.shields_up:
        return Verdict(False, "shields are up: no peer may open a flow")
    if any(packet.source in prefix for prefix in model.jailed if prefix.version == version):
        return Verdict(False, f"{packet.source} is a jailed peer: it may open no flow")
    return by_rules(model, packet)


def by_rules(model: RouterModel, packet: Packet) -> Verdict:
    """What the rules alone say, whatever this node's addresses are."""
    sourced = False
    for index, rule in enumerate(model.rules):
        sources = source_entries(rule.src_ips, model.cap_sources, [])
        if not any(v == packet.source.version and lo <= int(packet.source) <= hi for v, (lo, hi) in sources):
            continue
        sourced = True
        if _opens(rule, packet):
            return Verdict(True, f"accepted by filter rule {index + 1} of {len(model.rules)}", index)
    if sourced:
        return Verdict(False, f"no filter rule lets {packet.source} open {packet}")
    return Verdict(False, f"no filter rule names {packet.source} as a source")


def _opens(rule: FilterRule, packet: Packet) -> bool:
    value, version = int(packet.destination), packet.destination.version
    for family, (first, last), ports in destination_entries(rule, []):
        if family != version or not first <= value <= last:
            continue
        if packet.protocol == ICMP[version]:  # any pair of source and destination will do (node-os spec 1.4, step 3)
            return True
        if packet.protocol in rule_protocols(rule) and packet.protocol not in ICMP.values():
            if packet.protocol in PORT_PROTOCOLS:
                if ports[0] <= packet.port <= ports[1]:
                    return True
            elif ports == ALL_PORTS:
                return True
    return False
