"""The guard comes before the routes and goes after them, also over restarts."""

import asyncio
import threading
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


async def test_ok__the_copy_is_written_off_the_loop_in_order_though_the_caller_is_cancelled():
    kept, may_end, began = [], threading.Event(), threading.Event()

    def slow_disk(document):
        assert threading.current_thread() is not threading.main_thread()
        began.set()
        assert may_end.wait(5)
        kept.append(document)

    keeper = GuardKeeper(MemoryFirewall(), slow_disk)
    async with asyncio.TaskGroup() as group:
        closing = group.create_task(keeper.close_in(WITH))
        await asyncio.to_thread(began.wait, 5)
        closing.cancel()
    assert kept == []
    async with asyncio.TaskGroup() as group:
        opening = group.create_task(keeper.open_up(WITHOUT))
        await asyncio.sleep(0)
        assert not opening.done(), "the first write comes first"
        may_end.set()
    assert [bool(document) for document in kept] == [True, False]


async def test_ok__what_a_cancelled_caller_did_not_write_is_written_at_the_end():
    kept, may_end, began = [], threading.Event(), threading.Event()

    def slow_disk(document):
        began.set()
        assert may_end.wait(5)
        kept.append(document)

    keeper = GuardKeeper(MemoryFirewall(), slow_disk)
    async with asyncio.TaskGroup() as group:
        for model in (WITH, replace(WITH, guard=replace(WITH.guard, near=()))):
            applying = group.create_task(keeper.close_in(model))
            await asyncio.to_thread(began.wait, 5)
            await asyncio.sleep(0)
            applying.cancel()
            await asyncio.wait([applying])
    may_end.set()
    await keeper.settle()
    assert ["192.168.10.0/24" in document for document in kept] == [True, False]
