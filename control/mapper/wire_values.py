"""Value types to wire types: the way back of `appliance.proto.control.convert`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.proto.control import messages as wire
from control.policy.rules import COMPANIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from appliance.types import netmap


_WITHOUT_VALUE = frozenset(COMPANIONS.values())


def filter_rules(rules: Iterable[netmap.FilterRule]) -> list[wire.FilterRule]:
    """A rule has either destinations or capability grants; the other's keys stay out (section 14)."""
    return [
        wire.FilterRule(
            src_ips=list(rule.src_ips),
            dst_ports=[_port_range(target) for target in rule.dst_ports],
            ip_proto=list(rule.ip_protos),
            cap_grant=[_cap_grant(grant) for grant in rule.cap_grants],
        )
        for rule in rules
    ]


def _port_range(target: netmap.PortRange) -> wire.NetPortRange:
    return wire.NetPortRange(ip=target.ip, ports=wire.PortRange(first=target.first, last=target.last))


def _cap_grant(grant: netmap.CapGrant) -> wire.CapGrant:
    cap_map: wire.CapMap = {
        name: None if name in _WITHOUT_VALUE else list(values) for name, values in grant.cap_map.items()
    }
    return wire.CapGrant(dsts=[str(prefix) for prefix in grant.dsts], cap_map=cap_map)


def derp_map(value: netmap.DerpMap) -> wire.DerpMap:
    """Always complete: some nodes replace their whole map by what they get (derp spec section 6)."""
    scores = {str(region_id): score for region_id, score in value.region_score.items()}
    return wire.DerpMap(
        home_params=wire.DerpHomeParams(region_score=scores) if scores else None,
        regions={str(region.id): _derp_region(region) for region in value},
    )


def _derp_region(region: netmap.DerpRegion) -> wire.DerpRegion:
    return wire.DerpRegion(
        region_id=region.id,
        region_code=region.code,
        region_name=region.name,
        latitude=region.latitude,
        longitude=region.longitude,
        avoid=region.avoid,
        no_measure_no_home=region.no_measure_no_home,
        nodes=[_derp_node(node) for node in region.nodes],
    )


def _derp_node(node: netmap.DerpNode) -> wire.DerpNode:
    return wire.DerpNode(
        name=node.name,
        region_id=node.region_id,
        host_name=node.host_name,
        cert_name=node.cert_name,
        ipv4=node.ipv4,
        ipv6=node.ipv6,
        stun_port=node.stun_port,
        stun_only=node.stun_only,
        derp_port=node.derp_port,
        insecure_for_tests=node.insecure_for_tests,
        can_port80=node.can_port80,
    )
