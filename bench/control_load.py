"""Many simulated nodes against one `waypost-control`: joined in groups, each on a map stream of its own.

They speak the real protocol and keep its timing (retries by control-protocol spec section 18); what they are told is
decompressed and looked at, not kept. The server runs on one core and the nodes on another where there are two.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from appliance.proto.control import messages as wire
from appliance.proto.control.mapstream import KEEP_ALIVE, MapStreamReader
from appliance.proto.control.tunnel_events import BodyReceived, StreamEnded
from tests.lab.control_node import ConnectionEnded, ControlNode, server_key
from tests.lab.control_process import ControlProcess, free_port
from tests.lab.postgres import running_postgres

AT_ONCE = 32
FULL = os.environ.get("WAYPOST_BENCH_FULL") == "1"
"""Also the sizes that take many minutes."""
SIZES = (100, 1000, 10_000) if FULL else (100, 1000)
LARGE_GROUP = 1000
SMALL_GROUP = 90
MAX_RETRY_S = 30.0


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kib(pid: int) -> int:
    """PSS of a process."""
    for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if row.startswith("Pss:"):
            return int(row.split()[1])
    raise RuntimeError("the kernel does not tell the PSS")


def groups_of(nodes: int) -> list[int]:
    """Sizes of the groups: the first is the largest, up to 1,000; the others have 90 each."""
    first = min(nodes, LARGE_GROUP)
    rest = nodes - first
    return [first, *[SMALL_GROUP] * (rest // SMALL_GROUP), *([rest % SMALL_GROUP] if rest % SMALL_GROUP else [])]


@contextmanager
def own_core() -> Iterator[None]:
    """This process on the last core, for a while."""
    before = os.sched_getaffinity(0)
    if len(before) > 1:
        os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(eq=False)
class LoadNode(ControlNode):
    """A node that follows its stream and comes back when it ends."""

    connections: int = 0
    told: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: bytes = b""
    seen: bool = False

    async def stay(self) -> None:
        """Follow the stream, for ever."""
        failures = 0
        while True:
            try:
                await self.connect()
                await self._listen()
            except (ConnectionEnded, OSError):
                failures = 0 if self.told.is_set() else failures + 1
            self.told.clear()
            self.close()
            failures += 1
            await asyncio.sleep(min(failures**2 * 0.01, MAX_RETRY_S) * random.uniform(0.5, 1.5))  # jitter

    async def _listen(self) -> None:
        reader = MapStreamReader(compressed=True)
        self._tunnel.request("POST", "/machine/map", wire.encode(self.map_request(stream=True)))
        self._flush()
        while True:
            event = await self._event()
            if isinstance(event, StreamEnded):
                raise ConnectionEnded("the stream ended")
            if isinstance(event, BodyReceived):
                reader.receive_data(event.data)
                while (message := reader.next_message()) is not None:
                    self._look(message)

    def _look(self, message: bytes) -> None:
        if message == KEEP_ALIVE:
            return
        if not self.told.is_set():
            self.connections += 1
            self.told.set()
        if self.wanted and self.wanted in message:
            self.seen = True


@dataclass
class Fleet:
    """A server and its nodes; `groups` are lists of nodes that see each other only.

    `others` are further processes of the same mesh: the nodes of a group are spread over all of them in turn.
    """

    server: ControlProcess
    others: tuple[ControlProcess, ...] = ()
    groups: list[list[LoadNode]] = field(default_factory=list)
    joined_s: float = 0.0

    @property
    def pid(self) -> int:
        return self.pids[0]

    @property
    def pids(self) -> list[int]:
        """Of all processes."""
        return [each.process.popen.pid for each in (self.server, *self.others) if each.process is not None]

    def cpu_of_each(self) -> list[float]:
        """User and system seconds of each process."""
        return [cpu_s(pid) for pid in self.pids]

    @property
    def nodes(self) -> list[LoadNode]:
        return [node for group in self.groups for node in group]

    async def start(self) -> None:
        for server in (self.server, *self.others):
            await server.start(timeout_s=120)
        cores = os.sched_getaffinity(0)
        every = os.cpu_count() or 1
        if every > 1 and len(cores) == 1:
            for pid in self.pids:
                os.sched_setaffinity(pid, set(range(every)) - cores)

    async def join(self, count: int) -> None:
        """Register so many nodes, in groups by user, unless an earlier run left them."""
        if self.groups:
            return
        started = time.monotonic()
        sizes = groups_of(count)
        keys = [await self._new_user(f"u{number}") for number in range(len(sizes))]
        rules = ",".join(
            f'{{"action":"accept","src":["u{number}@"],"dst":["u{number}@:*"]}}' for number in range(len(sizes))
        )
        await self.server.admin("PUT", "/v1/policy", {"text": f'{{"acls":[{rules}]}}'})
        key = await server_key("127.0.0.1", self.server.port)
        ports = [server.port for server in (self.server, *self.others)]
        self.groups = [
            [LoadNode("127.0.0.1", ports[number % len(ports)], key, f"n{group}-{number}") for number in range(size)]
            for group, size in enumerate(sizes)
        ]
        places = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for auth_key, group in zip(keys, self.groups, strict=True):
                for node in group:
                    tasks.create_task(self._join_one(node, auth_key, places))
        self.joined_s = time.monotonic() - started

    async def _new_user(self, name: str) -> str:
        await self.server.admin("POST", "/v1/users", {"name": name})
        answer = await self.server.admin("POST", "/v1/preauthkeys", {"user": name, "reusable": True})
        return str(answer["key"])

    async def _join_one(self, node: LoadNode, auth_key: str, places: asyncio.Semaphore) -> None:
        async with places:
            await node.connect()
            response = await node.register(auth_key)
            assert response.machine_authorized, response.error
            node.close()

    async def all_told(self) -> None:
        """Wait until every node has its first map on the stream that it has now."""
        for node in self.nodes:
            await node.told.wait()


def more_files(nodes: int) -> None:
    """Room for the sockets, here and in the server."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * nodes + 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(wanted, 4096), hard), hard))


@dataclass
class Joined:
    """A server's folder after so many nodes joined: most of the time, spared to the benchmarks that come after."""

    folder: tempfile.TemporaryDirectory[str]
    groups: list[list[LoadNode]]

    def restore(self, made: Fleet) -> None:
        shutil.copytree(self.folder.name, made.server.folder, dirs_exist_ok=True)
        port = made.server.port
        made.groups = [
            [LoadNode(one.host, port, one.key, one.name, machine=one.machine, node=one.node) for one in group]
            for group in self.groups
        ]


_JOINED: dict[int, Joined] = {}


def _keep(made: Fleet, nodes: int) -> None:
    if made.groups and nodes not in _JOINED:
        folder = tempfile.TemporaryDirectory(prefix="waypost-bench-joined-", ignore_cleanup_errors=True)
        ignored = shutil.ignore_patterns("*.sock", "*.log")
        shutil.copytree(made.server.folder, folder.name, dirs_exist_ok=True, ignore=ignored)
        _JOINED[nodes] = Joined(folder, made.groups)


@contextmanager
def fleet(folder: Path, nodes: int, *, fresh: bool = False) -> Iterator[Fleet]:
    """Not started yet; ends with the block. `fresh`: without the nodes of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    more_files(nodes)
    with own_core():
        made = Fleet(ControlProcess(folder, free_port()))
        if nodes in _JOINED and not fresh:
            _JOINED[nodes].restore(made)
        try:
            yield made
        finally:
            made.server.stop()
        _keep(made, nodes)


@contextmanager
def shared_fleet(folder: Path, nodes: int, processes: int) -> Iterator[Fleet]:
    """Several processes over a PostgreSQL of their own; not started yet, ends with the block."""
    more_files(nodes)
    with running_postgres() as database, own_core():
        url = database.create()
        servers = []
        for number in range(processes):
            own = folder / str(number)
            own.mkdir(parents=True)
            noise = ("--noise-key", str(folder / "0" / "noise.key")) if number else ()
            servers.append(ControlProcess(own, free_port(), ("--database", url, *noise)))
        try:
            yield Fleet(servers[0], tuple(servers[1:]))
        finally:
            for server in servers:
                server.stop()


__all__ = ["FULL", "SIZES", "Fleet", "LoadNode", "cpu_s", "fleet", "resident_kib", "shared_fleet"]
