"""The guard comes before the routes and goes after them, also over restarts."""

from dataclasses import replace
from ipaddress import ip_network

from appliance.ports.firewall import MemoryFirewall
from appliance.router.guard_keeper import GuardKeeper
from appliance.router.model import Guard, RouterModel

PLACE = ("inet", "waypost_guard")
WITH = RouterModel(guard=Guard(near=(ip_network("192.168.10.0/24"),)))
WITHOUT = RouterModel()


async def test_ok__in_and_out():
    firewall = MemoryFirewall()
    keeper = GuardKeeper(firewall)
    await keeper.close_in(WITH)
    assert PLACE in firewall.tables
    await keeper.open_up(WITH)
    assert PLACE in firewall.tables
    await keeper.close_in(WITHOUT)
    assert PLACE in firewall.tables, "it goes after the routes"
    await keeper.open_up(WITHOUT)
    assert PLACE not in firewall.tables


async def test_ok__only_what_differs_is_said():
    firewall = MemoryFirewall()
    keeper = GuardKeeper(firewall)
    await keeper.close_in(WITH)
    firewall.documents.clear()
    await keeper.close_in(WITH)
    assert firewall.documents == []
    guard = replace(WITH.guard, near=(ip_network("192.168.20.0/24"),))
    await keeper.close_in(replace(WITH, guard=guard))
    (document,) = firewall.documents
    assert "192.168.20.0/24" in document
    assert "add chain" not in document
    await keeper.open_up(WITHOUT)
    firewall.documents.clear()
    await keeper.open_up(WITHOUT)
    assert firewall.documents == []


async def test_ok__what_a_run_before_left_is_taken_over_or_removed():
    firewall = MemoryFirewall()
    await GuardKeeper(firewall).close_in(WITH)
    await GuardKeeper(firewall).open_up(WITHOUT)
    assert PLACE not in firewall.tables
    await GuardKeeper(firewall).close_in(WITH)
    second = GuardKeeper(firewall)
    await second.close_in(WITH)
    await second.open_up(WITH)
    assert PLACE in firewall.tables


async def test_ok__put_back_when_others_removed_it():
    firewall = MemoryFirewall()
    keeper = GuardKeeper(firewall)
    await keeper.close_in(WITH)
    firewall.tables.clear()
    await keeper.repair()
    assert PLACE in firewall.tables
    firewall.tables.clear()
    await keeper.close_in(replace(WITH, guard=replace(WITH.guard, lan_access=True)))
    assert PLACE in firewall.tables


async def test_ok__a_boot_has_what_is_wanted_and_nothing_after_an_exit_is_given_up():
    firewall, kept = MemoryFirewall(), []
    keeper = GuardKeeper(firewall, kept.append)
    for _ in range(2):
        await keeper.close_in(WITH)
        await keeper.open_up(WITH)
    (document,) = kept
    firewall.tables.clear()
    await firewall.apply(document)
    assert PLACE in firewall.tables, "it stands by itself"
    await keeper.close_in(replace(WITH, guard=replace(WITH.guard, near=())))
    assert "192.168.10.0/24" in document
    assert "192.168.10.0/24" not in kept[-1]
    await keeper.remove()
    assert kept[-1], "the end of the daemon is none of the wish"
    for _ in range(2):
        await keeper.open_up(WITHOUT)
    assert kept[2:] == [""]
