"""Kernel settings: changed where needed, given back, recovered from the journal."""

from ipaddress import ip_network

import pytest

from appliance.ports.sysctl import MemoryJournal, MemorySysctl, SysctlUnansweredError
from appliance.router.forwarding import DEVICE_KEY, SysctlKeeper, Wish, wishes
from appliance.router.model import ExitUplink, Guard, RouterModel

FORWARD4, FORWARD6 = "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"
LAN4, LAN6 = ip_network("10.0.0.0/8"), ip_network("fd01::/64")


@pytest.fixture
def sysctl():
    return MemorySysctl(
        {
            FORWARD4: "0",
            FORWARD6: "0",
            "net/ipv4/conf/all/forwarding": "0",
            "net/ipv4/conf/all/accept_redirects": "1",
            "net/ipv4/conf/all/rp_filter": "0",
            "net/ipv4/conf/eth0/forwarding": "0",
            "net/ipv4/conf/eth1/forwarding": "1",
            "net/ipv4/conf/eth0/rp_filter": "1",
            "net/ipv4/conf/eth0/src_valid_mark": "0",
            "net/ipv6/conf/eth0/forwarding": "0",
            "net/ipv6/conf/eth0/accept_ra": "1",
        }
    )


async def keys(model, sysctl):
    return [(wish.key, wish.value) for wish in await wishes(model, sysctl, ["eth0"])]


async def test_ok__only_what_the_model_needs(sysctl):
    assert await keys(RouterModel(), sysctl) == []
    own = ip_network("100.64.0.1/32")
    assert await keys(RouterModel(addresses=(own,), advertised=(own,)), sysctl) == []
    assert await keys(RouterModel(advertised=(LAN4,)), sysctl) == [(FORWARD4, "1")]
    assert await keys(RouterModel(advertised=(LAN6,)), sysctl) == [
        ("net/ipv6/conf/eth0/accept_ra", "2"),
        (FORWARD6, "1"),
    ]


async def test_ok__reverse_path_only_for_routes_beyond_the_overlay(sysctl):
    assert await keys(RouterModel(routes=(ip_network("100.64.0.2/32"),)), sysctl) == []
    expected = [("net/ipv4/conf/eth0/src_valid_mark", "1")]
    assert await keys(RouterModel(routes=(ip_network("0.0.0.0/0"),)), sysctl) == expected
    sysctl.values["net/ipv4/conf/all/rp_filter"] = "2"
    assert await keys(RouterModel(routes=(ip_network("0.0.0.0/0"),)), sysctl) == []


@pytest.mark.parametrize(
    ("model", "link"),
    [
        (RouterModel(guard=Guard(gateway_direct=True)), "waypost0"),
        (RouterModel(exit_uplink=ExitUplink("wg0", versions=frozenset({4}))), "wg0"),
    ],
)
async def test_ok__answers_from_where_the_main_table_does_not_lead(sysctl, model, link):
    key = f"net/ipv4/conf/{link}/rp_filter"
    sysctl.values["net/ipv4/conf/eth0/rp_filter"] = "0"
    for every, own, after in (("0", "0", "0"), ("0", "1", "2"), ("0", "2", "2"), ("1", "0", "2"), ("1", "1", "2")):
        sysctl.values |= {"net/ipv4/conf/all/rp_filter": every, key: own}
        keeper = SysctlKeeper(sysctl, MemoryJournal())
        for _ in range(2):  # what was set once is not given back by looking again
            assert await keeper.ensure(await wishes(model, sysctl, ["eth0"])) == []
            assert sysctl.values[key] == after
        await keeper.restore()
        assert sysctl.values[key] == own


async def test_ok__all_comes_back_with_what_the_kernel_changed_along(sysctl):
    before = dict(sysctl.values)
    keeper = SysctlKeeper(sysctl, MemoryJournal())
    assert await keeper.ensure(await wishes(RouterModel(advertised=(LAN4, LAN6)), sysctl, ["eth0"])) == []
    assert sysctl.values["net/ipv4/conf/eth0/forwarding"] == "1"
    assert sysctl.values["net/ipv4/conf/all/accept_redirects"] == "0"
    await keeper.restore()
    assert sysctl.values == before


async def test_ok__what_is_on_already_is_left_alone(sysctl):
    sysctl.values[FORWARD4] = "1"
    journal = MemoryJournal()
    keeper = SysctlKeeper(sysctl, journal)
    await keeper.ensure(await wishes(RouterModel(advertised=(LAN4,)), sysctl, []))
    assert sysctl.written == []
    assert journal.text == ""
    await keeper.restore()
    assert sysctl.values[FORWARD4] == "1"


async def test_ok__a_wish_withdrawn_is_given_back(sysctl):
    keeper = SysctlKeeper(sysctl, MemoryJournal())
    await keeper.ensure([Wish(FORWARD4, "1", frozenset("1"))])
    await keeper.ensure([])
    assert sysctl.values[FORWARD4] == "0"


async def test_ok__a_crashed_run_is_undone(sysctl):
    before, journal = dict(sysctl.values), MemoryJournal()
    await SysctlKeeper(sysctl, journal).ensure([Wish(FORWARD4, "1", frozenset("1"))])
    assert await SysctlKeeper(sysctl, journal).recover() == [FORWARD4]
    assert sysctl.values == before
    assert journal.text == ""


async def test_ok__what_somebody_else_set_since_stays(sysctl):
    keeper = SysctlKeeper(sysctl, MemoryJournal())
    await keeper.ensure([Wish("net/ipv6/conf/eth0/accept_ra", "2", frozenset("2"))])
    sysctl.values["net/ipv6/conf/eth0/accept_ra"] = "0"
    await keeper.restore()
    assert sysctl.values["net/ipv6/conf/eth0/accept_ra"] == "0"


async def test_fail__read_only(sysctl):
    sysctl.read_only = True
    journal = MemoryJournal()
    (problem,) = await SysctlKeeper(sysctl, journal).ensure([Wish(FORWARD4, "1", frozenset("1"))])
    assert "ip_forward" in problem
    assert journal.text == ""


class LateSysctl(MemorySysctl):
    """Writes, and says nothing."""

    async def write(self, key, value):
        await super().write(key, value)
        raise SysctlUnansweredError("no answer")


async def test_ok__what_was_written_without_an_answer_is_given_back(sysctl):
    before, journal = dict(sysctl.values), MemoryJournal()
    late = LateSysctl(sysctl.values)
    keeper = SysctlKeeper(late, journal)
    wish = Wish(FORWARD4, "1", frozenset("1"))
    assert len(await keeper.ensure([wish])) == 1
    assert await keeper.ensure([wish]) == []
    assert sysctl.values[FORWARD4] == "1"
    assert await SysctlKeeper(sysctl, journal).recover() == [FORWARD4]
    assert sysctl.values == before


async def test_ok__what_the_kernel_turned_off_for_the_device_is_given_back_at_the_end(sysctl):
    journal = MemoryJournal()
    keeper = SysctlKeeper(sysctl, journal)
    sysctl.values[DEVICE_KEY] = "1"
    await keeper.note_device("1")
    assert journal.text == ""
    sysctl.values[DEVICE_KEY] = "0"
    await keeper.note_device("0")
    assert journal.text == ""
    await keeper.note_device("1")
    await keeper.ensure([])
    assert sysctl.values[DEVICE_KEY] == "0"
    assert await SysctlKeeper(sysctl, journal).recover() == [DEVICE_KEY]
    assert sysctl.values[DEVICE_KEY] == "1"


async def test_ok__where_nobody_may_write_settings_the_kernel_s_change_stays(sysctl):
    keeper = SysctlKeeper(sysctl, MemoryJournal())
    sysctl.values[DEVICE_KEY] = "0"
    await keeper.note_device("1")
    sysctl.read_only = True
    assert await keeper.restore() == [DEVICE_KEY]


async def test_ok__a_damaged_journal_is_no_obstacle(sysctl):
    assert await SysctlKeeper(sysctl, MemoryJournal('{"sysctl": 5}')).recover() == []
