"""Documents and the firewall twin."""

import pytest

from appliance.ports.firewall import (
    FirewallError,
    MemoryFirewall,
    NftChain,
    NftSet,
    NftTable,
    render_change,
    render_create,
    render_delete,
)

BASE = "type filter hook input priority 0; policy accept;"
OLD = NftTable(
    "inet",
    "t",
    (
        NftSet("s", "ipv4_addr", {"1.1.1.1": "", "2.2.2.2": ""}),
        NftSet("m", "ipv4_addr : verdict", {"3.3.3.3": "jump a"}),
    ),
    (NftChain("in", ("ip saddr @s accept", "ip saddr vmap @m"), BASE), NftChain("a", ("drop",))),
)
NEW = NftTable(
    "inet",
    "t",
    (NftSet("s", "ipv4_addr", {"1.1.1.1": ""}), NftSet("m", "ipv4_addr : verdict", {"3.3.3.3": "jump b"})),
    (NftChain("in", ("ip saddr @s accept", "ip saddr vmap @m"), BASE), NftChain("b", ("accept",))),
)


async def loaded(*documents):
    twin = MemoryFirewall()
    for document in documents:
        await twin.apply(document)
    return twin


async def test_ok__change_equals_creation():
    changed = await loaded(render_create(OLD), render_change(OLD, NEW))
    fresh = await loaded(render_create(NEW))
    assert changed.tables["inet", "t"].sets == fresh.tables["inet", "t"].sets
    assert set(changed.tables["inet", "t"].chains) == {"in", "b"}


def test_ok__a_new_hook_makes_the_table_anew():
    moved = NftTable("inet", "t", OLD.sets, (NftChain("in", (), BASE.replace("0", "5")), *OLD.chains[1:]))
    assert render_change(OLD, moved) == render_create(moved)


async def test_ok__listing():
    twin = await loaded(render_create(OLD))
    chains = [item["chain"] for item in await twin.table("inet", "t") if "chain" in item]
    assert chains[0] == {
        "family": "inet", "table": "t", "name": "in", "type": "filter", "hook": "input", "prio": 0, "policy": "accept",
    }  # fmt: skip
    assert await twin.table("ip", "t") == []
    await twin.apply(render_delete("inet", "t"))
    assert await twin.ruleset() == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("add rule inet t nowhere accept", "no 'nowhere'"),
        ("add rule ip t in accept", "no table ip t"),
        ("delete chain inet t a", "not empty"),
        ("add rule inet t in ip saddr @gone accept", "gone is missing"),
        ("add rule inet t in jump gone", "gone is missing"),
        ("add element inet t m { 3.3.3.3 : jump b }", "exists"),
        ("delete element inet t s { 9.9.9.9 }", "9.9.9.9"),
        ("delete table inet other", "no table"),
        ("delete rule inet t in handle 99", "no rule"),
        ("frobnicate", "syntax"),
    ],
)
async def test_fail__nothing_of_a_bad_document_takes_effect(line, reason):
    twin = await loaded(render_create(OLD))
    before = await twin.ruleset()
    with pytest.raises(FirewallError, match=reason):
        await twin.apply(f"flush chain inet t in\n{line}\n")
    assert await twin.ruleset() == before
