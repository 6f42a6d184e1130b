"""Every look at every state of what it looks at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from appliance.checks import network
from appliance.checks.network import DnsFacts, NetworkFacts
from appliance.types.findings import FAILED, OK, SKIPPED, WARNING, Finding

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("check", "facts", "state", "said"),
    [
        (network.control, {"connected": True}, OK, "connected"),
        (network.control, {"control_error": "no route to host"}, FAILED, "no route to host"),
        (network.relay, {"relay": "Frankfurt"}, OK, "Frankfurt"),
        (network.relay, {}, FAILED, "no relay"),
        (network.udp, {}, SKIPPED, "not measured"),
        (network.udp, {"udp": False}, WARNING, "relays"),
        (network.udp, {"udp": True}, OK, "Internet"),
        (network.nat, {}, SKIPPED, "not measured"),
        (network.nat, {"router_address": "192.168.0.5", "seen_address": "198.51.100.9"}, WARNING, "double NAT"),
        (network.nat, {"router_address": "100.70.0.5"}, WARNING, "double NAT"),
        (network.nat, {"router_address": "8.8.4.4", "seen_address": "8.8.8.8"}, WARNING, "8.8.8.8"),
        (network.nat, {"router_address": "8.8.8.8", "seen_address": "8.8.8.8"}, OK, "one NAT"),
        (network.nat, {"mapping_varies": True}, WARNING, "another port"),
        (network.nat, {"mapping_varies": False}, OK, "one NAT"),
        (network.dns, {}, SKIPPED, "no resolver"),
        (network.dns, {"dns": DnsFacts(("100.100.100.100",), {}, {"9.9.9.9": ""}, answers=True)}, OK, "comes back"),
        (network.dns, {"dns": DnsFacts(looping=("192.168.1.1",), answers=True)}, FAILED, "192.168.1.1 come back"),
        (network.dns, {"dns": DnsFacts(refused={"192.168.1.2:53": "in use"})}, FAILED, "192.168.1.2:53: in use"),
        (network.dns, {"dns": DnsFacts(("100.100.100.100",), answers=False)}, FAILED, "own name"),
        (network.dns, {"dns": DnsFacts(upstreams={"a": "timed out", "b": "refused"})}, FAILED, "b (refused)"),
        (network.dns, {"dns": DnsFacts(upstreams={"a": "timed out", "b": ""})}, WARNING, "a (timed out)"),
        (network.dns, {"dns": DnsFacts(host_error="no such bus")}, WARNING, "no such bus"),
        (network.mtu, {}, OK, "no peer to measure"),
        (network.mtu, {"large_packets": {"paris": True}}, OK, "paris"),
        (network.mtu, {"large_packets": {"paris": True, "oslo": False}}, FAILED, "oslo"),
        (network.mtu, {"uplink_mtus": {"eth0": 1500, "ppp0": 1280}}, WARNING, "ppp0 (1280)"),
        (network.forwarding, {}, SKIPPED, "nobody"),
        (network.forwarding, {"forwards": frozenset({4}), "forwarding": {4: True, 6: False}}, OK, "forwards"),
        (network.forwarding, {"forwards": frozenset({4}), "forwarding": {4: None}}, OK, "forwards"),
        (network.forwarding, {"forwards": frozenset({4, 6}), "forwarding": {4: True, 6: False}}, FAILED, "ipv6"),
        (network.rp_filter, {}, OK, "no reverse-path"),
        (network.rp_filter, {"strict": ("eth0",)}, FAILED, "eth0"),
        (network.overlaps, {"attached": (("10.0.0.0/8", "eth0"), ("192.168.1.0/24", "eth1"))}, OK, "no networks"),
        (network.overlaps, {"attached": (("10.0.0.0/8", "eth0"), ("10.1.0.0/16", "eth1"))}, WARNING, "10.1.0.0/16"),
        (network.overlaps, {"attached": (("10.0.0.0/8", "eth0"), ("10.1.0.0/16", "eth0"))}, OK, "no networks"),
        (network.overlaps, {"refused": {"192.168.1.0/24": "same as the LAN"}}, WARNING, "same as the LAN"),
        (network.approvals, {}, SKIPPED, "netmap"),
        (network.approvals, {"approved": ("10.0.0.0/8",), "advertised": ("10.0.0.0/8",)}, OK, "approved"),
        (network.approvals, {"approved": (), "advertised": ("10.0.0.0/8",)}, WARNING, "10.0.0.0/8"),
    ],
)
def test_ok__looks(check: Callable[[NetworkFacts], Finding], facts: dict[str, Any], state: str, said: str) -> None:
    finding = check(NetworkFacts(**facts))
    assert finding.state == state, finding
    assert said in finding.text
    assert bool(finding.mend) == (state in (WARNING, FAILED)), "a mend for what is wrong, and for nothing else"
    assert finding.check == check.__name__.replace("_", "-")


@pytest.mark.parametrize(
    ("days", "state"), [(None, OK), (400, OK), (13, WARNING), (0.5, WARNING), (-1, FAILED)], ids=str
)
def test_ok__key(days: float | None, state: str) -> None:
    expiry = NOW + timedelta(days=days) if days is not None else None
    finding = network.key(NetworkFacts(key_expiry=expiry), NOW)
    assert finding.state == state
    assert bool(finding.mend) == (state != OK)


def test_ok__firewall_names_a_few() -> None:
    assert network.firewall(()).state == OK
    finding = network.firewall([f"table{number}" for number in range(9)])
    assert finding.state == WARNING
    assert "and 5 more" in finding.text
