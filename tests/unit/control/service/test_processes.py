"""Several processes on one database: first what they tell each other, then two services on one PostgreSQL."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest

from appliance.ports.clock import SystemClock
from appliance.ports.randomness import SystemRandomness
from appliance.proto.control.messages import Auth, Hostinfo, RegisterRequest
from appliance.types.addresses import AddrPort
from control.service.processes import SILENCE_S, Notice, Processes
from control.service.service import open_service
from control.service.settings import ServiceSettings
from tests.unit.control.service.conftest import ADMIN, machine, node_key

ROUTE = ip_network("10.0.0.0/24")


class Wire:
    """Carries notices between processes at once; every process hears its own too."""

    def __init__(self) -> None:
        self.ends: list[Processes] = []
        self.queue: list[str] = []

    def post(self, notice: str) -> None:
        self.queue.append(notice)

    def deliver(self) -> None:
        while self.queue:
            notice = self.queue.pop(0)
            for end in self.ends:
                end.heard(notice)


class Board:
    """What a process makes visible."""

    def __init__(self) -> None:
        self.shown: list[int] = []
        self.followed: list[object] = []
        self.news = 0
        self.elected: dict = {}
        self.reelected: list[set[int]] = []

    def reelect(self, node_ids):
        self.reelected.append(set(node_ids))

    def show_elsewhere(self, node_id):
        self.shown.append(node_id)

    def follow_primaries(self, routes):
        self.followed.append(list(routes))

    def all_routes(self):
        return [ROUTE]

    def primaries(self):
        return self.elected

    def stale(self):
        self.news += 1


def _join(wire: Wire, name: str) -> tuple[Processes, Board]:
    board = Board()
    processes = Processes(board, name, wire.post, 10.0)
    wire.ends.append(processes)
    processes.connected(True)
    wire.deliver()
    return processes, board


def test_ok__nodes_are_told_to_old_and_new_processes():
    wire = Wire()
    one, _ = _join(wire, "1")
    one.announce(7, True)
    two, board = _join(wire, "2")
    assert two.serve(7)
    one.announce(8, True)
    one.announce(7, False)
    wire.deliver()
    assert (two.serve(7), two.serve(8)) == (False, True)
    assert set(board.shown) == {7, 8}
    assert not one.serve(8)


def test_ok__many_nodes_take_several_notices():
    wire = Wire()
    one, _ = _join(wire, "1")
    for number in range(2000):
        one.announce(2**30 + number, True)
    wire.queue.clear()
    two, _ = _join(wire, "2")
    assert all(two.serve(2**30 + number) for number in range(2000))
    one._tell_all()
    assert max(len(text) for text in wire.queue) < 7900


def test_ok__silence_ends_a_process_but_not_while_the_database_is_away():
    wire = Wire()
    one, _ = _join(wire, "1")
    two, board = _join(wire, "2")
    one.announce(7, True)
    wire.deliver()
    two.connected(False)
    two.tick(100.0)
    assert two.serve(7)
    wire.ends.remove(one)
    two.connected(True)
    two.tick(100.0 + SILENCE_S - 1)
    assert two.serve(7)
    two.tick(100.0 + SILENCE_S)
    assert not two.serve(7)
    assert two.others == ()
    assert board.shown[-1] == 7


def test_ok__a_farewell_gives_the_nodes_their_grace():
    wire = Wire()
    one, _ = _join(wire, "1")
    two, _ = _join(wire, "2")
    one.announce(7, True)
    wire.post(one.farewell)
    wire.deliver()
    assert two.leads
    assert two.serve(7)
    two.tick(10.0)
    assert not two.serve(7)


def test_ok__the_oldest_leads_and_the_next_takes_over():
    wire = Wire()
    one, first = _join(wire, "1")
    first.elected = {ROUTE: 7}
    two, second = _join(wire, "2")
    assert (one.leads, two.leads) == (True, False)
    assert two.table == {ROUTE: 7}
    two.tell_primaries({ROUTE: 9})
    wire.deliver()
    assert one.table == {}
    one.tell_primaries({ROUTE: None})
    wire.deliver()
    assert two.table == {}
    second.followed.clear()
    wire.ends.remove(one)
    two.tick(SILENCE_S)
    assert two.leads
    assert second.followed == [[ROUTE]]


def test_ok__the_leader_hears_which_routers_are_silent():
    wire = Wire()
    (one, board), (two, _) = _join(wire, "1"), _join(wire, "2")
    two.tell_health({7: False, 8: False})
    wire.deliver()
    assert one.calls_unwell(7)
    assert board.reelected[-1] == {7, 8}
    late, _ = _join(wire, "3")
    assert late.calls_unwell(8)
    two.tell_health({7: True})
    wire.deliver()
    assert not one.calls_unwell(7)
    assert not late.calls_unwell(7)
    assert board.reelected[-1] == {7}


def test_fail__garbage_on_the_channel():
    wire = Wire()
    one, board = _join(wire, "1")
    before = board.news
    for text in ("", "{", '{"sender":1}', "[]"):
        one.heard(text)
    one.heard("12")
    assert board.news == before + 1
    assert Notice("x", "y").first is False


@asynccontextmanager
async def _serving(url: str, folder):
    """A service with its way to the others, as the server runs it."""
    settings = ServiceSettings(domain="net.example", online_grace_s=0.2)
    service = await open_service(
        folder, settings, clock=SystemClock(), randomness=SystemRandomness(), database_text=url
    )
    stop = asyncio.Event()

    async def sweep() -> None:
        while not stop.is_set():
            await service.sweep()
            await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        running = group.create_task(service.run())
        group.create_task(sweep())
        try:
            yield service
        finally:
            stop.set()
            running.cancel()
    await service.close()


@pytest.fixture
async def pair(postgres_url, tmp_path):
    async with _serving(postgres_url, tmp_path) as one, _serving(postgres_url, tmp_path) as two:
        await _until(lambda: one.processes and two.processes)
        yield one, two


async def _until(condition) -> None:
    async with asyncio.timeout(8):
        while not condition():
            await asyncio.sleep(0.01)


async def _join_node(service, number: int, key: str, **info):
    request = RegisterRequest(
        version=130, node_key=str(node_key(number)), auth=Auth(auth_key=key), hostinfo=Hostinfo(**info)
    )
    answer = await service.register(machine(number), request, "")
    assert answer.error == ""
    return service.view().node_by_key(node_key(number))


async def _key(service) -> str:
    await service.users.create(ADMIN, "alice")
    return (await service.keys.create(ADMIN, user="alice", reusable=True))[1]


async def test_ok__a_change_on_one_is_seen_on_the_other(pair):
    one, two = pair
    changes = []
    two.subscribe(changes.append)
    node = await _join_node(one, 1, await _key(one), hostname="gw1")
    await _until(lambda: two.view().node_by_key(node_key(1)))
    assert two.view().nodes[node.id] == node
    assert [user.name for user in two.view().users.values()] == ["alice"]
    await one.nodes.rename(ADMIN, "gw1", "front")
    await one.policies.set(ADMIN, '{"acls": []}')
    await _until(lambda: two.policies.get(ADMIN).version == 1)
    assert two.view().node_by_name("front") is not None
    assert any(change.everything for change in changes)
    await two.nodes.delete(ADMIN, "front")
    await _until(lambda: not one.view().nodes)


async def test_ok__what_a_node_says_reaches_the_other_process(pair):
    one, two = pair
    node = await _join_node(one, 1, await _key(one), hostname="gw1")
    one.session_started(node.id)
    await one.update_node(node.id, endpoints=[AddrPort("192.0.2.1", 5)])
    await _until(lambda: two.view().is_online(node.id) and two.view().nodes[node.id].endpoints)
    two.session_started(node.id)
    one.session_ended(node.id)
    await asyncio.sleep(0.4)
    assert one.view().is_online(node.id)
    two.session_ended(node.id)
    await _until(lambda: not one.view().is_online(node.id))


async def test_ok__writers_on_both_give_no_address_and_no_name_twice(pair):
    key = await _key(pair[0])
    async with asyncio.TaskGroup() as group:
        for number in range(1, 31):
            group.create_task(_join_node(pair[number % 2], number, key, hostname="gw"))
    for service in pair:
        await _until(lambda service=service: len(service.view().nodes) == 30)
        nodes = service.view().nodes.values()
        assert len({node.ipv4 for node in nodes}) == len({node.given_name for node in nodes}) == 30


async def test_ok__both_agree_who_serves_a_subnet(pair):
    one, two = pair
    key = await _key(one)
    nodes = [await _join_node(one, number, key, hostname=f"r{number}", routable_ips=[str(ROUTE)]) for number in (1, 2)]
    for node in nodes:
        await one.routes.approve(ADMIN, node.given_name, [])
    await _until(lambda: len(two.view().nodes) == 2 and all(n.approved_routes for n in two.view().nodes.values()))
    two.session_started(nodes[1].id)
    await _until(lambda: one.view().primary_of(ROUTE) == two.view().primary_of(ROUTE) == nodes[1].id)
    one.session_started(nodes[0].id)
    await _until(lambda: two.view().is_online(nodes[0].id))
    assert one.view().primary_of(ROUTE) == two.view().primary_of(ROUTE) == nodes[1].id
    two._core.show_health({nodes[1].id: False})
    await _until(lambda: one.view().primary_of(ROUTE) == two.view().primary_of(ROUTE) == nodes[0].id)
    one.session_started(nodes[1].id)
    await _until(lambda: all(state.well for state in two.routes.list(ADMIN)))
    one.session_ended(nodes[1].id)
    one.session_ended(nodes[0].id)
    await _until(lambda: one.view().primary_of(ROUTE) == two.view().primary_of(ROUTE) == nodes[1].id)
    two.session_ended(nodes[1].id)


async def test_ok__an_unknown_key_is_looked_for_before_it_is_refused(postgres_url, tmp_path):
    settings = ServiceSettings(domain="net.example")
    opened = [
        await open_service(
            tmp_path, settings, clock=SystemClock(), randomness=SystemRandomness(), database_text=postgres_url
        )
        for _ in range(2)
    ]
    await _join_node(opened[0], 1, await _key(opened[0]), hostname="gw1")
    assert opened[1].node_for(machine(1), node_key(1)) is None
    await opened[1].settle(node_key(1))
    assert opened[1].node_for(machine(1), node_key(1)) is not None
    for service in opened:
        await service.close()
