"""The control server of the product in a simulated network, whole: front listener, Noise, HTTP/2, service, database.

Its clock is the world's, its loop too; SQLite does its work at once instead of in a thread. What is not there: TLS, the
embedded relay and STUN, which the network has of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import structlog

from appliance.ports.randomness import SeededRandomness
from appliance.proto.control import messages as wire
from appliance.types.addresses import AddrPort
from appliance.types.netmap import DerpMap
from control.mapper.wire_values import derp_map as wire_derp_map
from control.server.app import RunningServer, running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM
from tests.sim.world import World
from tests.sim.world_loop import LIMIT_S, WorldLoop

PLACE = AddrPort("203.0.113.254", 8080)
URL = f"http://{PLACE}"
EVERYBODY = {"action": "accept", "src": ["*"], "dst": ["*:*"]}


class _AtOnce:
    """The queue to a thread of aiosqlite, without the thread: what is put in is done."""

    def put_nowait(self, item: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, work = item
        try:
            result = work()
        except Exception as error:  # it belongs to whoever waits for the result
            if future is not None:
                future.set_exception(error)
        else:
            if future is not None:
                future.set_result(result)


class _NoThread:
    daemon = True

    def __init__(self, **_arguments: object) -> None:
        """There is nothing to run."""

    def start(self) -> None:
        """The work is done when it is put in."""


class ControlServer:
    """`open` before the nodes, `close` after them. `keys` are the pre-auth keys of the users that were asked for."""

    def __init__(self, world: World, derp_map: DerpMap, users: Sequence[str]) -> None:
        self._world, self._derp_map, self._users = world, derp_map, tuple(users)
        self.loop = WorldLoop(world)
        self.troubles: list[str] = []
        self.keys: dict[str, str] = {}
        self._stack = ExitStack()
        self._randomness = SeededRandomness(f"control {world.seed}")
        self._server: RunningServer | None = None
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def _open(self) -> None:
        self._stack.enter_context(patch.multiple("aiosqlite.core", SimpleQueue=_AtOnce, Thread=_NoThread))
        self._stack.enter_context(self._logs())
        directory = Path(self._stack.enter_context(TemporaryDirectory(prefix="waypost-sim-")))
        (directory / "derp.json").write_bytes(wire.encode(wire_derp_map(self._derp_map)))
        self._settings = ServerSettings(
            data_dir=directory,
            listen=PLACE,
            derp_host=None,
            stun_port=0,
            tls_fallback=None,
            derp_map_files=(directory / "derp.json",),
        )
        task = self.start()
        if not self._world.run_until(lambda: self._server is not None or task.done(), LIMIT_S):
            raise TimeoutError("the control server does not come up")
        if task.done():
            task.result()
        self.loop.complete(self._make_keys())

    def start(self) -> asyncio.Task[None]:
        """With the database that is there."""
        self._stop = asyncio.Event()
        self._task = self.loop.create_task(self._serve(self._stop))
        return self._task

    async def _serve(self, stop: asyncio.Event) -> None:
        async with running(self._settings, clock=self._world.clock, randomness=self._randomness) as server:
            self._server = server
            await stop.wait()
            self._server = None

    async def _make_keys(self) -> None:
        assert self._server is not None
        service = self._server.service
        for user in self._users:
            await service.users.create(SYSTEM, user)
            _, self.keys[user] = await service.keys.create(SYSTEM, user=user)

    def grant_relay(self, users: Sequence[str], relay: str) -> None:
        """The policy of the mesh: everybody sees everybody, and these users' nodes may use that one's relay."""
        assert self._server is not None
        grants = [{"src": [f"{user}@" for user in users], "dst": [f"{relay}@"], "app": {"tailscale.com/cap/relay": []}}]
        text = json.dumps({"acls": [EVERYBODY], "grants": grants if users else []})
        self.loop.complete(self._set_policy(text))

    async def _set_policy(self, text: str) -> None:
        assert self._server is not None
        await self._server.service.policies.set(SYSTEM, text)

    def stop(self) -> None:
        """Every connection ends, and nobody listens any more; the database stays."""
        task = self._task
        if task is not None:
            self._stop.set()
            if not self._world.run_until(task.done, LIMIT_S):
                raise TimeoutError("the control server does not stop")
            self._task = None
            task.result()

    def close(self) -> None:
        try:
            self.stop()
        finally:
            self._stack.close()

    @contextmanager
    def _logs(self) -> Iterator[None]:
        """Errors are troubles, the rest is nothing to say."""
        before = structlog.get_config()
        structlog.configure(processors=[self._logged])
        try:
            yield
        finally:
            structlog.configure(**before)

    def _logged(self, _logger: object, method: str, event: Any) -> Any:
        if method in ("error", "exception", "critical"):
            self.troubles.append(f"{event.get('event')}: {event}")
        raise structlog.DropEvent
