"""A netcheck as the local API tells it."""

from __future__ import annotations

from datetime import UTC, datetime

from appliance.daemon.status import netcheck_report
from appliance.magicsock.netcheck.report import Report
from appliance.types.addresses import AddrPort

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_ok__home_and_time_are_told() -> None:
    report = Report(udp=True, ipv4=True, global_v4=AddrPort("203.0.113.10", 41641), region_latency={900: 0.01})
    told = netcheck_report(report, None, 900, NOW)
    assert told.preferred_region == 900
    assert told.finished_at == NOW
    assert told.global_v4 == "203.0.113.10:41641"
    assert [region.latency_s for region in told.regions] == [0.01]
