"""A netcheck as the local API tells it."""

from __future__ import annotations

from datetime import UTC, datetime

from appliance.daemon.status import netcheck_report
from appliance.magicsock.netcheck.report import Report
from appliance.portmap.mapping import Kind, Mapping, PortMapping
from appliance.types.addresses import AddrPort

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_ok__home_and_time_are_told() -> None:
    report = Report(udp=True, ipv4=True, global_v4=AddrPort("203.0.113.10", 41641), region_latency={900: 0.01})
    told = netcheck_report(report, None, 900, NOW)
    assert told.preferred_region == 900
    assert told.finished_at == NOW
    assert told.global_v4 == "203.0.113.10:41641"
    assert [region.latency_s for region in told.regions] == [0.01]


def test_ok__what_the_router_speaks_and_gave() -> None:
    mapping = Mapping(Kind.PCP, AddrPort("203.0.113.5", 50001), 41641, 0.0, 7200.0)
    told = netcheck_report(Report(), None, 0, NOW, PortMapping(mapping, frozenset(Kind)))
    assert told.port_mapping == "UPnP, NAT-PMP, PCP"
    assert told.port_mapped == "203.0.113.5:50001"
    refused = netcheck_report(Report(), None, 0, NOW, PortMapping(None, frozenset((Kind.UPNP,)), "refused"))
    assert (refused.port_mapping, refused.port_mapped, refused.port_mapping_error) == ("UPnP", "", "refused")


def test_ok__latencies_by_family_the_nearest_first() -> None:
    report = Report(
        region_latency={1: 0.03, 2: 0.01}, region_v4_latency={1: 0.03, 2: 0.02}, region_v6_latency={2: 0.01}
    )
    told = netcheck_report(report, None, 2, NOW).regions
    assert [(item.region_id, item.v4_latency_s, item.v6_latency_s) for item in told] == [
        (2, 0.02, 0.01),
        (1, 0.03, None),
    ]
