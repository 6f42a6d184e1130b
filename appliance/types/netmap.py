"""Value types of the netmap: what a node knows of its mesh.

All of them are immutable snapshots. The wire forms live in `appliance.proto.control`; `appliance.netmap` makes these
values from them, checked and with defaults filled in. Field meanings: control-protocol spec sections 10 to 14.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from appliance.types.ids import NO_REGION
from appliance.types.location import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from appliance.types.addresses import Address, AddrPort, Prefix
    from appliance.types.ids import NodeId, RegionId, StableNodeId, UserId
    from appliance.types.keys import DiscoPublicKey, MachinePublicKey, NodePublicKey


class EndpointType(IntEnum):
    """Where an endpoint was learned (control-protocol spec section 8)."""

    UNKNOWN = 0
    LOCAL = 1
    STUN = 2
    PORTMAPPED = 3
    STUN_LOCAL_PORT = 4
    EXPLICIT = 5


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One UDP ip:port at which a node may be reached, tagged by its source."""

    addr_port: AddrPort
    kind: EndpointType = EndpointType.UNKNOWN


@dataclass(frozen=True, slots=True)
class Node:
    """A node as this node sees it; the self node and peers alike.

    `addresses` are its own overlay prefixes, IPv4 first; `allowed_ips` adds what it routes; `primary_routes` are the
    subnets it serves now. `disco_key` is None when the node has none; `home_derp` 0 means unknown.
    """

    id: NodeId
    stable_id: StableNodeId
    name: str
    key: NodePublicKey
    user: UserId = 0  # type: ignore[assignment]  # 0 = unknown
    machine: MachinePublicKey | None = None
    disco_key: DiscoPublicKey | None = None
    addresses: tuple[Prefix, ...] = ()
    allowed_ips: tuple[Prefix, ...] = ()
    primary_routes: tuple[Prefix, ...] = ()
    endpoints: tuple[AddrPort, ...] = ()
    home_derp: RegionId = NO_REGION
    key_expiry: datetime | None = None
    online: bool | None = None
    last_seen: datetime | None = None
    capability_version: int = 0
    tags: tuple[str, ...] = ()
    cap_map: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    hostname: str = ""
    os: str = ""
    services: tuple[tuple[str, int, str], ...] = ()
    routable_ips: tuple[Prefix, ...] = ()
    machine_authorized: bool = True
    expired: bool = False
    wireguard_only: bool = False
    jailed: bool = False
    location: Location | None = None

    @property
    def short_name(self) -> str:
        """First label of the FQDN."""
        return self.name.partition(".")[0]

    def address(self, version: int) -> Address | None:
        """Own overlay address of the IP version (4 or 6), None when it has none."""
        for prefix in self.addresses:
            if prefix.version == version:
                return prefix.network_address
        return None


@dataclass(frozen=True, slots=True)
class PortRange:
    """Destination address entry of a filter rule: text form of the wire and an inclusive port range."""

    ip: str
    first: int = 0
    last: int = 65535


@dataclass(frozen=True, slots=True)
class CapGrant:
    """Application capabilities that sources of the rule hold toward `dsts`."""

    dsts: tuple[Prefix, ...]
    cap_map: Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class FilterRule:
    """One accept rule of the packet filter, addresses in wire text form (control-protocol spec section 14).

    Either `dst_ports` (packets; `ip_protos` empty means TCP, UDP, ICMP, ICMPv6) or `cap_grants` (no packets).
    """

    src_ips: tuple[str, ...]
    dst_ports: tuple[PortRange, ...] = ()
    ip_protos: tuple[int, ...] = ()
    cap_grants: tuple[CapGrant, ...] = ()


@dataclass(frozen=True, slots=True)
class DerpNode:
    """One DERP server of a region; "" and 0 mean the default (derp spec section 6)."""

    name: str
    region_id: RegionId
    host_name: str
    cert_name: str = ""
    ipv4: str = ""
    ipv6: str = ""
    stun_port: int = 0
    stun_only: bool = False
    derp_port: int = 0
    insecure_for_tests: bool = False
    can_port80: bool = False


@dataclass(frozen=True, slots=True)
class DerpRegion:
    id: RegionId
    code: str
    name: str
    nodes: tuple[DerpNode, ...] = ()
    avoid: bool = False
    no_measure_no_home: bool = False
    latitude: float = 0.0
    longitude: float = 0.0


@dataclass(frozen=True, slots=True)
class DerpMap:
    regions: Mapping[RegionId, DerpRegion] = field(default_factory=dict)
    region_score: Mapping[RegionId, float] = field(default_factory=dict)

    def __iter__(self) -> Iterator[DerpRegion]:
        return iter(self.regions.values())


@dataclass(frozen=True, slots=True)
class DnsResolver:
    addr: str
    use_with_exit_node: bool = False


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """DNS settings of the mesh (node-os spec 3.1)."""

    resolvers: tuple[DnsResolver, ...] = ()
    routes: Mapping[str, tuple[DnsResolver, ...]] = field(default_factory=dict)
    fallback_resolvers: tuple[DnsResolver, ...] = ()
    domains: tuple[str, ...] = ()
    proxied: bool = False
    extra_records: tuple[tuple[str, str, str], ...] = ()
    cert_domains: tuple[str, ...] = ()
    exit_filtered: tuple[str, ...] = ()
    """Names that this node does not look up for peers; a dot in front means all names below."""


@dataclass(frozen=True, slots=True)
class UserProfile:
    id: UserId
    login_name: str
    display_name: str = ""
    profile_pic_url: str = ""


@dataclass(frozen=True, slots=True)
class NetmapDiff:
    """What one map delta changed; receivers touch this and nothing else.

    `changed` holds the new form of every added or changed peer, `previous` the old form of those that were known.
    The booleans say that the named part of the netmap was replaced.
    """

    full: bool = False
    self_changed: bool = False
    changed: Mapping[NodeId, Node] = field(default_factory=dict)
    previous: Mapping[NodeId, Node] = field(default_factory=dict)
    removed: Mapping[NodeId, Node] = field(default_factory=dict)
    derp_map_changed: bool = False
    dns_changed: bool = False
    filter_changed: bool = False
    users_changed: bool = False

    @property
    def empty(self) -> bool:
        return not (
            self.full
            or self.self_changed
            or self.changed
            or self.removed
            or self.derp_map_changed
            or self.dns_changed
            or self.filter_changed
            or self.users_changed
        )
