"""Map streams on a virtual clock: batching, keep-alives, slow readers, newest wins, lost streams resumed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address

import pytest

from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.proto.control import messages as wire
from appliance.proto.control.delta import MapSessionMark, WireNetmap
from appliance.proto.control.mapstream import KEEP_ALIVE_RAW, MapStreamReader
from appliance.types.addresses import AddrPort
from appliance.types.ids import NodeId, StableNodeId, UserId
from appliance.types.keys import MachinePublicKey, NodePublicKey
from appliance.types.netmap import DerpMap
from control.server.sessions import RESUME_S, STALLED_S, MapSession, SessionHub
from control.state.changes import Change, ChangeBus, NodeChange
from control.state.mesh import MeshModel
from control.state.records import NodeRecord, UserRecord
from tests.unit.control.open_policy import OpenPolicy

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Service:
    """What the hub asks of `NodeFacing`, over a real read model."""

    def __init__(self) -> None:
        policy = OpenPolicy()
        self.model = MeshModel(domain="mesh.test", derp_map=DerpMap(), policy=policy)
        policy.nodes = self.model.nodes
        self.model.put_user(UserRecord(UserId(1), "alice", NOW))
        self.errors: list[Exception] = []
        self.bus = ChangeBus(lambda _, error: self.errors.append(error))
        self.sessions: list[tuple[str, NodeId]] = []

    def view(self) -> MeshModel:
        return self.model

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        return self.bus.subscribe(callback)

    def session_started(self, node_id: NodeId) -> None:
        self.sessions.append(("started", node_id))

    def session_ended(self, node_id: NodeId) -> None:
        self.sessions.append(("ended", node_id))

    def put(self, record: NodeRecord) -> None:
        before = self.model.put_node(record)
        self.publish(NodeChange(before, record))

    def remove(self, number: int) -> None:
        self.publish(NodeChange(self.model.remove_node(NodeId(number)), None))

    def publish(self, *nodes: NodeChange) -> None:
        viewers = frozenset(self.model.nodes) | {change.node_id for change in nodes}
        self.bus.publish(Change(revision=self.model.next_revision(), nodes=nodes, viewers=viewers))


def make_record(number: int, port: int = 1) -> NodeRecord:
    return NodeRecord(
        id=NodeId(number),
        stable_id=StableNodeId(f"n{number}"),
        user_id=UserId(1),
        machine_key=MachinePublicKey((1000 + number).to_bytes(32, "big")),
        node_key=NodePublicKey(number.to_bytes(32, "big")),
        given_name=f"n{number}",
        ipv4=IPv4Address("100.64.0.0") + number,
        ipv6=IPv6Address("fd7a:115c:a1e0::") + number,
        created=NOW,
        endpoints=(AddrPort("192.0.2.1", port),),
    )


class Connection:
    """The twin of a `TunnelConnection`: keeps what streams were sent."""

    remote_ip = "192.0.2.1"

    def __init__(self) -> None:
        self.free = True
        self.aborted = False
        self.sent: dict[int, bytearray] = {}
        self.ended: set[int] = set()

    def is_writable(self, stream_id: int) -> bool:
        return self.free

    def send_body(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        self.sent.setdefault(stream_id, bytearray()).extend(data)
        if end:
            self.ended.add(stream_id)

    def end_stream(self, stream_id: int) -> None:
        self.ended.add(stream_id)

    def abort(self) -> None:
        self.aborted = True

    def take(self, stream_id: int = 1) -> list[wire.MapResponse]:
        """Messages since the last call."""
        reader = MapStreamReader(compressed=False)
        reader.receive_data(bytes(self.sent.pop(stream_id, b"")))
        found = []
        while (message := reader.next_message()) is not None:
            found.append(wire.decode(wire.MapResponse, message))
        return found


class Bench:
    def __init__(self) -> None:
        self.service = Service()
        self.clock = VirtualClock()
        self.hub = SessionHub(self.service, self.clock, SeededRandomness(1))  # type: ignore[arg-type]  # the part it uses

    def open(self, number: int, connection: Connection, stream_id: int = 1) -> MapSession:
        request = wire.MapRequest(version=130, keep_alive=True, stream=True)
        return self.hub.open(connection, stream_id, self.service.model.nodes[NodeId(number)], request)  # type: ignore[arg-type]

    async def flushed(self) -> None:
        """Wait for the hub's batch timer."""
        while self.hub._flush_timer is not None:
            await asyncio.sleep(0)

    def assert_no_errors(self) -> None:
        assert self.service.errors == []


@pytest.fixture
async def bench() -> Bench:
    made = Bench()
    for number in (1, 2):
        made.service.model.put_node(make_record(number))
    return made


async def test_ok__a_burst_leaves_in_one_message(bench: Bench) -> None:
    connection = Connection()
    bench.open(1, connection)
    (first,) = connection.take()
    assert [peer.id for peer in first.peers] == [2]
    for port in range(2, 40):
        bench.service.put(make_record(2, port))
    assert connection.sent == {}
    await bench.flushed()
    (told,) = connection.take()
    assert [patch.endpoints for patch in told.peers_changed_patch] == [["192.0.2.1:39"]]
    bench.assert_no_errors()


async def test_ok__a_slow_reader_costs_no_memory(bench: Bench) -> None:
    connection = Connection()
    session = bench.open(1, connection)
    connection.take()
    connection.free = False
    for port in range(2, 3000):
        bench.service.put(make_record(2, port))
    await bench.flushed()
    assert connection.sent == {}
    assert len(session.viewer._pending) == 1
    connection.free = True
    bench.hub.writable(connection)  # type: ignore[arg-type]
    await bench.flushed()
    (told,) = connection.take()
    assert [patch.endpoints for patch in told.peers_changed_patch] == [["192.0.2.1:2999"]]


async def test_ok__a_dead_reader_is_dropped(bench: Bench) -> None:
    connection = Connection()
    bench.open(1, connection)
    connection.free = False
    bench.service.put(make_record(2, 7))
    await bench.flushed()
    bench.clock.advance(STALLED_S - 1)
    bench.hub.tick()
    assert not connection.aborted
    bench.clock.advance(1)
    bench.hub.tick()
    assert connection.aborted


async def test_ok__keep_alive_comes_after_50_to_59_s_of_silence(bench: Bench) -> None:
    connection = Connection()
    bench.open(1, connection)
    connection.take()
    due = []
    for _ in range(40):
        for second in range(1, 70):
            bench.clock.advance(1)
            bench.hub.tick()
            if connection.sent.pop(1, b""):
                due.append(second)
                break
    assert len(due) == 40
    assert min(due) >= 50
    assert max(due) <= 60
    assert len(set(due)) > 3


async def test_ok__any_message_puts_the_keep_alive_off(bench: Bench) -> None:
    connection = Connection()
    bench.open(1, connection)
    bench.clock.advance(49)
    bench.service.put(make_record(2, 7))
    await bench.flushed()
    connection.sent.clear()
    bench.clock.advance(49)
    bench.hub.tick()
    assert connection.sent == {}
    bench.clock.advance(11)
    bench.hub.tick()
    assert bytes(connection.sent[1]) == KEEP_ALIVE_RAW


async def test_ok__newest_stream_wins_without_going_offline(bench: Bench) -> None:
    former, newest = Connection(), Connection()
    bench.open(1, former)
    bench.open(1, newest, 3)
    assert former.ended == {1}
    assert bench.service.sessions == [("started", 1), ("started", 1), ("ended", 1)]
    bench.hub.stream_gone(former, 1)  # type: ignore[arg-type]
    bench.hub.stream_gone(former, 0)  # type: ignore[arg-type]
    assert bench.service.sessions[-1] == ("ended", 1)
    assert len(bench.service.sessions) == 3
    former.sent.clear()
    newest.take(3)
    bench.service.put(make_record(2, 9))
    await bench.flushed()
    assert former.sent == {}
    assert len(newest.take(3)) == 1


async def test_ok__lost_connection_ends_all_its_sessions(bench: Bench) -> None:
    connection = Connection()
    bench.open(1, connection, 1)
    bench.open(2, connection, 3)
    bench.hub.stream_gone(connection, 0)  # type: ignore[arg-type]
    assert len(bench.hub) == 0
    assert [kind for kind, _ in bench.service.sessions] == ["started", "started", "ended", "ended"]
    bench.service.put(make_record(2, 9))
    assert bench.hub._flush_timer is None


async def test_ok__removed_node_loses_its_stream(bench: Bench) -> None:
    connection = Connection()
    bench.open(1, connection)
    bench.service.remove(1)
    await bench.flushed()
    assert connection.ended == {1}
    assert len(bench.hub) == 0
    bench.assert_no_errors()


async def test_ok__closing_ends_every_stream(bench: Bench) -> None:
    connection = Connection()
    bench.open(1, connection)
    bench.hub.close()
    assert connection.ended == {1}
    bench.service.put(make_record(2, 9))
    assert connection.take()[1:] == []


async def test_ok__what_many_are_told_alike_is_framed_once(bench: Bench) -> None:
    connections = [Connection() for _ in range(20)]
    for number in range(1, 22):
        bench.service.put(make_record(number))
    for number, connection in enumerate(connections, 1):
        bench.open(number, connection)
    await asyncio.sleep(0.1)
    made, sent = bench.hub.counters["frames_made"], bench.hub.counters["frames_sent"]
    bench.service.put(make_record(21, port=7))
    while bench.hub.counters["frames_sent"] < sent + len(connections):
        await asyncio.sleep(0.01)
    assert bench.hub.counters["frames_made"] == made + 1


# resuming


class Client:
    """A client's netmap over several streams; `lose` breaks the connection with what is under way."""

    def __init__(self, bench: Bench, number: int) -> None:
        self.bench = bench
        self.number = number
        self.netmap = WireNetmap()
        self.connection = Connection()

    def open(self) -> list[wire.MapResponse]:
        mark = self.netmap.session
        request = wire.MapRequest(
            version=130,
            keep_alive=True,
            stream=True,
            map_session_handle=mark.handle or wire.NEW_SESSION,
            map_session_seq=mark.seq,
        )
        self.netmap.begin_stream()
        self.connection = Connection()
        record = self.bench.service.model.nodes[NodeId(self.number)]
        self.bench.hub.open(self.connection, 1, record, request)  # type: ignore[arg-type]  # the twin
        return self.read()

    def read(self) -> list[wire.MapResponse]:
        found = self.connection.take()
        for message in found:
            self.netmap.apply(message, NOW)
        return found

    def lose(self) -> None:
        self.connection.sent.clear()
        self.bench.hub.stream_gone(self.connection, 0)  # type: ignore[arg-type]  # the twin

    def known(self) -> dict[int, tuple[str, ...]]:
        return {number: tuple(peer.endpoints) for number, peer in self.netmap.peers.items()}


def truth(bench: Bench, number: int) -> dict[int, tuple[str, ...]]:
    peers = (node for node in bench.service.model.nodes.values() if node.id != number)
    return {node.id: tuple(str(endpoint) for endpoint in node.endpoints) for node in peers}


async def test_ok__a_lost_stream_goes_on_where_it_ended(bench: Bench) -> None:
    client = Client(bench, 1)
    (first,) = client.open()
    assert first.map_session_handle
    assert first.seq
    client.lose()
    bench.service.put(make_record(2, port=5))
    bench.service.put(make_record(3))
    (again,) = client.open()
    assert again.map_session_handle == first.map_session_handle
    assert not again.peers, "only what changed meanwhile"
    assert again.node is not None, "clients end a stream that begins without their own node"
    assert [node.id for node in again.peers_changed] == [3]
    assert client.known() == truth(bench, 1)
    assert bench.hub.counters["streams_resumed"] == 1
    bench.service.put(make_record(2, port=6))
    await bench.flushed()
    client.read()
    assert client.known() == truth(bench, 1)
    bench.assert_no_errors()


async def test_ok__before_the_server_noticed_the_loss(bench: Bench) -> None:
    client = Client(bench, 1)
    client.open()
    former = client.connection
    assert not client.open()[0].peers
    assert former.ended == {1}
    assert len(bench.hub) == 1


async def test_fail__what_was_sent_in_vain_is_told_again(bench: Bench) -> None:
    client = Client(bench, 1)
    client.open()
    bench.service.put(make_record(2, port=5))
    await bench.flushed()
    client.lose()
    (again,) = client.open()
    assert [peer.id for peer in again.peers] == [2]
    assert client.known() == truth(bench, 1)
    assert bench.hub.counters["streams_resumed"] == 0


@pytest.mark.parametrize("handle", ["x" * 32, "ä", "new"])
async def test_fail__somebody_elses_or_an_old_handle(bench: Bench, handle: str) -> None:
    client, other = Client(bench, 1), Client(bench, 2)
    client.open()
    other.open()
    for stolen in (handle, other.netmap.session.handle):
        mark = client.netmap.session
        client.lose()
        client.netmap.session = MapSessionMark(stolen, mark.seq)
        assert client.open()[0].peers, "a full map"
    client.lose()
    bench.clock.advance(RESUME_S + 1)
    bench.hub.tick()
    assert client.open()[0].peers
    assert bench.hub.counters["streams_resumed"] == 0


async def test_ok__stock_clients_get_neither_handle_nor_number(bench: Bench) -> None:
    connection = Connection()
    bench.open(1, connection)
    bench.service.put(make_record(2, port=3))
    await bench.flushed()
    assert {(message.map_session_handle, message.seq) for message in connection.take()} == {("", 0)}
    bench.hub.stream_gone(connection, 0)  # type: ignore[arg-type]  # the twin
    assert not bench.hub._parked


@pytest.mark.parametrize("seed", range(20))
async def test_ok__any_losses_end_with_the_truth(bench: Bench, seed: int) -> None:
    """Model: random changes, connections lost at random moments with and without what was sent last."""
    rng = random.Random(seed)
    client = Client(bench, 1)
    client.open()
    for _ in range(80):
        number = rng.choice((2, 3, 4, 5))
        match rng.randrange(6):
            case 0 if NodeId(number) in bench.service.model.nodes:
                bench.service.remove(number)
            case 1 | 2:
                bench.service.put(make_record(number, rng.randrange(1, 99)))
            case 3:
                await bench.flushed()
            case 4:
                client.read()
            case _:
                if rng.random() < 0.5:
                    client.read()
                client.lose()
                client.open()
    await bench.flushed()
    client.read()
    assert client.known() == truth(bench, 1)
    bench.assert_no_errors()
