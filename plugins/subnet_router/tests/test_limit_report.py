from __future__ import annotations

import json

from appliance.api import QueueTraffic
from plugins.subnet_router.commands import run_command
from plugins.subnet_router.config import SubnetRouterConfig
from plugins.subnet_router.limit_report import NONE_SET
from plugins.subnet_router.metrics import metrics
from plugins.subnet_router.panel import panel
from plugins.subnet_router.state import RouterState

STATE = RouterState(
    config=SubnetRouterConfig(limits=("gateway-b 20mbit", "10.8.1.0/24 500kbit", "nobody 1mbit")),
    limited={"gateway-b": ("100.64.0.2/32",)},
    traffic={"gateway-b": QueueTraffic(6_500_000, 4_700, 12, 900, 3_000, 2), "gone 1mbit": QueueTraffic()},
)
COUNTED = {
    "sent_bytes": 6_500_000,
    "sent_packets": 4_700,
    "dropped_packets": 12,
    "overlimits": 900,
    "backlog_bytes": 3_000,
    "backlog_packets": 2,
}


def test_ok__as_text_and_in_the_panel() -> None:
    passed = "6.5 MB in 4700 packets passed, 12 dropped, 900 times over the rate, 3000 bytes in 2 packets wait"
    words = [f"to 20mbit/s, {passed}", "to 500kbit/s, not held now", "to 1mbit/s, no peer has that name now"]
    assert run_command(STATE, "limits", ()).text.splitlines() == [
        f"gateway-b    {words[0]}",
        f"10.8.1.0/24  {words[1]}",
        f"nobody       {words[2]}",
    ]
    assert [row.detail for row in panel(STATE).rows if row.label == "Limited"] == words
    assert run_command(RouterState(), "limits", ()).text == NONE_SET


def test_ok__as_json() -> None:
    shown = json.loads(run_command(STATE, "limits", ("--json",)).text)
    assert shown["limits"] == [
        {"target": "gateway-b", "rate_kbit": 20_000, "known": True, "traffic": COUNTED},
        {"target": "10.8.1.0/24", "rate_kbit": 500, "known": True, "traffic": None},
        {"target": "nobody", "rate_kbit": 1_000, "known": False, "traffic": None},
    ]
    assert not run_command(STATE, "limits", ("--yaml",)).ok


def test_ok__metrics_name_the_limits_of_the_settings_alone() -> None:
    found = {each.name: (each.value, each.labels) for each in metrics(STATE) if each.name.startswith("waypost_limit_")}
    labels = {"limit": "gateway-b"}
    assert found == {
        "waypost_limit_sent_bytes_total": (6_500_000, labels),
        "waypost_limit_sent_packets_total": (4_700, labels),
        "waypost_limit_dropped_packets_total": (12, labels),
        "waypost_limit_overlimits_total": (900, labels),
        "waypost_limit_backlog_bytes": (3_000, labels),
    }
