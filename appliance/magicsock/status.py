"""What path finding shows of itself: immutable values, explainable to a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from appliance.types.addresses import AddrPort
from appliance.types.events import PathKind
from appliance.types.ids import RegionId
from appliance.types.keys import NodePublicKey


@dataclass(frozen=True, slots=True)
class CandidateStatus:
    """One address of a peer. `latency_s` of the last pong; ages in seconds, None = never. `points` as scoring gives.

    `loss`: share of pings, None while unknown. `mtu`: the largest IP packet known to pass, 0 = not even one of 1280
    bytes, None = unknown. `why`: in words, why it is used or not.
    """

    endpoint: AddrPort
    sources: tuple[str, ...]
    points: int
    best: bool
    latency_s: float | None = None
    pong_age_s: float | None = None
    ping_age_s: float | None = None
    loss: float | None = None
    mtu: int | None = None
    why: str = ""

    @property
    def state(self) -> str:
        """One word for a table."""
        if self.best:
            return "in use"
        if self.pong_age_s is not None:
            return "answers"
        return "no answer" if self.ping_age_s is not None else "not tried"


@dataclass(frozen=True, slots=True)
class PathStatus:
    """A peer's path now. `active` = traffic within 45 s; an idle peer has kind NONE.

    `mtu` of a direct path as in its candidate. `survives_s`: the silence that it is known to survive, 0 = none, None =
    unknown. `trusted_for_s` is how long the direct path is still believed without a new pong, 0 when it is not. `why`:
    in words, why this kind of path.
    """

    peer: NodePublicKey
    kind: PathKind
    active: bool
    endpoint: AddrPort | None = None
    region: RegionId | None = None
    latency_s: float | None = None
    derp_latency_s: float | None = None
    mtu: int | None = None
    survives_s: float | None = None
    trusted_for_s: float = 0.0
    candidates: tuple[CandidateStatus, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class PingResult:
    """`via`: DIRECT or PEER_RELAY with `endpoint`, or DERP with `region`."""

    peer: NodePublicKey
    via: PathKind
    latency_s: float
    endpoint: AddrPort | None = None
    region: RegionId | None = None


@dataclass(frozen=True, slots=True)
class NetInfo:
    """Result of the last netcheck for control (derp spec 9.7). None = unknown."""

    mapping_varies_by_dest_ip: bool | None = None
    working_ipv6: bool | None = None
    os_has_ipv6: bool | None = None
    working_udp: bool | None = None
    working_icmpv4: bool | None = None
    have_port_map: bool = False
    upnp: bool | None = None
    pmp: bool | None = None
    pcp: bool | None = None
    preferred_derp: int = 0
    derp_latency: Mapping[str, float] = field(default_factory=dict)

    def says_the_same(self, other: NetInfo) -> bool:
        """Whether nothing but latencies differs, so that control need not be told."""
        return self._without_latency() == other._without_latency()

    def _without_latency(self) -> tuple[object, ...]:
        return (
            self.mapping_varies_by_dest_ip,
            self.working_ipv6,
            self.os_has_ipv6,
            self.working_udp,
            self.working_icmpv4,
            self.have_port_map,
            self.upnp,
            self.pmp,
            self.pcp,
            self.preferred_derp,
        )


@dataclass(frozen=True, slots=True)
class PortMappingSeen:
    """A port on the router that leads to us, and which protocols the router answers (None: not known)."""

    external: AddrPort | None = None
    upnp: bool | None = None
    pmp: bool | None = None
    pcp: bool | None = None

    def told_in(self, info: NetInfo) -> NetInfo:
        """`info` with what is known here."""
        return replace(info, have_port_map=self.external is not None, upnp=self.upnp, pmp=self.pmp, pcp=self.pcp)


@dataclass(frozen=True, slots=True)
class HairpinSeen:
    """Event: what was sent to our own outside address came back in."""


@dataclass(frozen=True, slots=True)
class NetInfoChanged:
    """Event: control should be told the new `net_info`."""

    net_info: NetInfo
