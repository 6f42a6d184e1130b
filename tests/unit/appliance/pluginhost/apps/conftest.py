"""Plugins in "processes" that are tasks of this one, over memory channels."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.pluginhost.apps.runner import PluginRunner
from appliance.ports.channels import MemoryChannel, memory_channels
from appliance.ports.clock import SystemClock
from appliance.ports.processes import MEMORY_EXIT, Exit
from appliance.ports.randomness import SeededRandomness

_spec = importlib.util.spec_from_file_location("pluginhost_twins", Path(__file__).parents[1] / "conftest.py")
assert _spec is not None
assert _spec.loader is not None
twins = importlib.util.module_from_spec(_spec)
sys.modules["pluginhost_twins"] = twins
_spec.loader.exec_module(twins)


class TaskProcess:
    def __init__(self) -> None:
        self.channel, self.inner = memory_channels()
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        runner = PluginRunner(self.inner, SystemClock(), SeededRandomness(2), lambda: self.finish(MEMORY_EXIT))
        self.task = asyncio.ensure_future(runner.run())
        self.task.add_done_callback(lambda _task: self.finish(0))
        self.killed = False

    def finish(self, status: int) -> None:
        if not self.exit.done():
            self.exit.set_result(Exit(status))
        self.inner.close()

    def kill(self) -> None:
        self.killed = not self.exit.done()
        self.finish(-9)
        self.task.cancel()

    async def ended(self) -> Exit:
        return await self.exit


class TaskLauncher:
    """`launched` are all processes so far; `hold` starts them without reading."""

    def __init__(self) -> None:
        self.launched: list[TaskProcess] = []

    async def launch(self, name: str, memory_bytes: int) -> TaskProcess:
        process = TaskProcess()
        self.launched.append(process)
        return process

    async def close(self) -> None:
        for process in self.launched:
            process.kill()

    @property
    def channel(self) -> MemoryChannel:
        """The core's end of the newest process."""
        return self.launched[-1].channel


@pytest.fixture
async def launcher() -> AsyncIterator[TaskLauncher]:
    made = TaskLauncher()
    yield made
    await made.close()
    await asyncio.gather(*(process.task for process in made.launched), return_exceptions=True)
