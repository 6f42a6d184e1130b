"""What a netcheck found (derp spec 9.7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.magicsock.status import NetInfo
from appliance.types.addresses import AddrPort
from appliance.types.ids import NO_REGION, RegionId


@dataclass(frozen=True, slots=True)
class Report:
    """Latencies in seconds. None = unknown. `global_v4_counts`: how often each mapped address was seen."""

    started_at: float = 0.0
    full: bool = False
    udp: bool = False
    ipv4: bool = False
    ipv6: bool = False
    ipv4_can_send: bool = False
    ipv6_can_send: bool = False
    os_has_ipv6: bool = False
    icmpv4: bool | None = None
    mapping_varies_by_dest_ip: bool | None = None
    global_v4: AddrPort | None = None
    global_v6: AddrPort | None = None
    global_counts: Mapping[AddrPort, int] = field(default_factory=dict)
    preferred_derp: RegionId = NO_REGION
    region_latency: Mapping[RegionId, float] = field(default_factory=dict)
    region_v4_latency: Mapping[RegionId, float] = field(default_factory=dict)
    region_v6_latency: Mapping[RegionId, float] = field(default_factory=dict)
    captive_portal: bool | None = None
    upnp: bool | None = None
    pmp: bool | None = None
    pcp: bool | None = None

    def mapped(self) -> tuple[AddrPort, ...]:
        """Global addresses to offer: the first IPv4, the last IPv6, and others seen more than once."""
        first = [address for address in (self.global_v4, self.global_v6) if address is not None]
        more = [address for address, count in self.global_counts.items() if count > 1 and address not in first]
        return (*first, *more)

    def net_info(self, home: RegionId) -> NetInfo:
        """The form for control."""
        latency = {f"{region}-v4": value for region, value in self.region_v4_latency.items()}
        latency.update({f"{region}-v6": value for region, value in self.region_v6_latency.items()})
        return NetInfo(
            mapping_varies_by_dest_ip=self.mapping_varies_by_dest_ip,
            working_ipv6=self.ipv6,
            os_has_ipv6=self.os_has_ipv6,
            working_udp=self.udp,
            working_icmpv4=self.icmpv4,
            upnp=self.upnp,
            pmp=self.pmp,
            pcp=self.pcp,
            preferred_derp=home,
            derp_latency=latency,
        )


@dataclass(frozen=True, slots=True)
class NetcheckDone:
    """Event: run number `run` ended."""

    run: int
    report: Report
