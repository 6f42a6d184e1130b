"""Other firewalls: found, opened, closed."""

import pytest

from appliance.ports.firewall import MemoryFirewall
from appliance.router.foreign import closing_document, find_drops, opening_document
from appliance.router.model import RouterModel, SideDevice

FORWARD_DROP = """add table ip filter
add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }
add rule ip filter FORWARD iifname "docker0" accept
"""
REJECT_AT_END = """add table inet firewalld
add chain inet firewalld filter_INPUT { type filter hook input priority 10; policy accept; }
add rule inet firewalld filter_INPUT tcp dport 22 accept
add rule inet firewalld filter_INPUT counter reject
"""
HARMLESS = """add table ip other
add chain ip other fwd { type filter hook forward priority 0; policy accept; }
add rule ip other fwd tcp dport 25 drop
add chain ip other out { type filter hook output priority 0; policy drop; }
"""
LETS_US_PASS = """add table ip mine
add chain ip mine fwd { type filter hook forward priority 0; policy drop; }
add rule ip mine fwd iifname "waypost0" accept
add rule ip mine fwd oifname "waypost0" accept
"""
ONE_WAY = LETS_US_PASS.replace('add rule ip mine fwd oifname "waypost0" accept\n', "")
TOO_LATE = """add table ip mine
add chain ip mine in { type filter hook input priority 0; policy accept; }
add rule ip mine in counter drop
add rule ip mine in iifname "waypost0" accept
"""


@pytest.mark.parametrize(
    ("document", "places"),
    [
        (FORWARD_DROP, ["ip table filter chain FORWARD (forward)"]),
        (REJECT_AT_END, ["inet table firewalld chain filter_INPUT (input)"]),
        (HARMLESS, []),
        (LETS_US_PASS, []),
        (ONE_WAY, ["ip table mine chain fwd (forward)"]),
        (TOO_LATE, ["ip table mine chain in (input)"]),
    ],
)
async def test_ok__drops_are_found(document, places):
    twin = MemoryFirewall()
    await twin.apply(document)
    assert [str(drop) for drop in find_drops(await twin.ruleset(), "waypost0")] == places


async def test_ok__openings_come_once_and_go():
    twin = MemoryFirewall()
    await twin.apply(FORWARD_DROP + REJECT_AT_END)
    before = [rules for table in twin.tables.values() for rules in table.chains.values()]
    texts = [[text for _, text in rules] for rules in before]
    model = RouterModel(wireguard_port=41641)
    await twin.apply(opening_document(await twin.ruleset(), model))
    assert [text.split(" comment")[0] for _, text in twin.tables["ip", "filter"].chains["FORWARD"]] == [
        'oifname "waypost0" accept',
        'iifname "waypost0" accept',
        'iifname "docker0" accept',
    ]
    assert opening_document(await twin.ruleset(), model) == ""
    assert find_drops(await twin.ruleset(), "waypost0") == []
    moved = opening_document(await twin.ruleset(), RouterModel(wireguard_port=5))
    assert moved.count("delete rule") == 1
    assert "udp dport 5 accept" in moved
    side = RouterModel(wireguard_port=5, devices=(SideDevice("waypost-side"),))
    with_device = opening_document(await twin.ruleset(), side)
    assert {'iifname "waypost-side" accept', 'oifname "waypost-side" accept'} <= {
        line.partition("FORWARD ")[2].partition(" comment")[0] for line in with_device.splitlines()
    }
    await twin.apply(closing_document(await twin.ruleset()))
    after = [[text for _, text in rules] for table in twin.tables.values() for rules in table.chains.values()]
    assert after == texts
    assert closing_document(await twin.ruleset()) == ""
