"""`waypostd`'s side of one plugin in its own process: started, asked, watched, ended, started again.

Nothing here waits for the plugin in the core's way: hooks are answered from what the plugin said last. A process that
does not answer in time, floods, or ends is replaced after a back-off, and named in health until it has held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.api.values import CommandReply, NetmapChange, RefreshKind
from appliance.pluginhost.apps.answers import ASKED, REFRESHES, Answers
from appliance.pluginhost.apps.border import SOCKET_METHODS, pack, pack_hook, unpack_hook_result, unpack_method
from appliance.pluginhost.apps.calls import PendingCalls
from appliance.pluginhost.apps.messages import (
    PROTOCOL,
    Begin,
    CallHook,
    Configure,
    End,
    Fault,
    HostCall,
    Loaded,
    Ping,
    Result,
    Services,
    Told,
    ToPlugin,
    decode_to_host,
    encode,
)
from appliance.pluginhost.backend import HostBackend
from appliance.pluginhost.discovery import Candidate
from appliance.pluginhost.errors import PluginError, PluginRefused, PluginStalled
from appliance.pluginhost.faults import FaultBook
from appliance.pluginhost.handle import InlineHandle
from appliance.pluginhost.services import MENDED_S, STEADY_S, backoff_s
from appliance.pluginhost.snapshots import full_change
from appliance.ports.channels import Channel, ChannelClosed
from appliance.ports.processes import PluginProcessPort, ProcessLauncher
from appliance.types.errors import ApplianceError, ConfigError

WHERE = "process"
MAX_CALLS = 64
LINES_PER_S = 50
REFRESH_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds. `hook_s` bounds each hook call, `stall_s` the silence of the process's loop."""

    load_s: float = 30.0
    hook_s: float = 5.0
    stall_s: float = 10.0
    watch_s: float = 1.0
    end_s: float = 5.0


class _Over(Exception):
    """Carries the reason out of the task group."""

    def __init__(self, error: PluginError) -> None:
        super().__init__(error.text)
        self.error = error


class PluginProcess:
    """`table` gives the settings that hold now. Belongs to one event loop."""

    def __init__(
        self,
        candidate: Candidate,
        handle: InlineHandle,
        table: Callable[[], Mapping[str, Any]],
        backend: HostBackend,
        faults: FaultBook,
        launcher: ProcessLauncher,
        limits: Limits,
    ) -> None:
        self.name = candidate.name
        self.services: tuple[str, ...] = ()
        self.told = Told()
        """Its settings, once the plugin has told them."""
        self.restarts = 0
        self.is_live = False
        self._candidate = candidate
        self._handle = handle
        self._table = table
        self._backend = backend
        self._faults = faults
        self._launcher = launcher
        self._limits = limits
        self._answers = Answers()
        self._calls = PendingCalls()
        self._channel: Channel | None = None
        self._group: asyncio.TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending = False
        self._may_start = asyncio.Event()
        self._configured = asyncio.Event()
        self._loaded = asyncio.Event()
        self._first: asyncio.Future[ApplianceError | None] = asyncio.get_running_loop().create_future()
        self._serving = 0
        self._lines: tuple[int, int] = (0, 0)
        self._faulty: set[str] = set()
        self._refreshed: dict[RefreshKind, float] = {}

    # --- life

    def launch(self) -> None:
        """Have the process run from now on."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"plugin {self.name}: process")

    def start(self) -> None:
        """The engine is up: services may run."""
        self._may_start.set()

    async def first_verdict(self) -> None:
        """Wait until the plugin took its settings, was found broken, or `load_s` are over. Raises `ConfigError`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.load_s):
                error = await asyncio.shield(self._first)
            if isinstance(error, ConfigError):
                raise error

    def abandon(self) -> None:
        """Undo `launch` in the same turn of the loop, before anything was started."""
        self._ending = True
        if self._task is not None:
            self._task.cancel()

    async def end(self) -> None:
        """Let the plugin stop, then end its process, by force where it takes too long."""
        self._ending = True
        task, self._task = self._task, None
        if task is None:
            return
        with suppress(ChannelClosed):
            self._post(End())
        if self._channel is not None:
            await asyncio.wait([task], timeout=self._limits.end_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        failures = 0
        while not self._ending:
            started = self._backend.clock.now()
            error = await self._live()
            if self._ending or error is None:
                return
            self._faults.failed(self.name, WHERE, error)
            self._note_first(error)
            if isinstance(error, PluginRefused):
                return  # it will not be another one tomorrow
            failures = 1 if self._backend.clock.now() - started >= STEADY_S else failures + 1
            self.restarts += 1
            await self._backend.sleep(backoff_s(failures, self._backend.randomness))

    async def _live(self) -> PluginError | None:
        """One process from start to end; why it ended."""
        try:
            process = await self._launcher.launch(self.name, self._candidate.manifest.memory_mib * 1024 * 1024)
        except ApplianceError as error:
            return PluginError(self.name, f"could not be started: {error.text}", mend=error.mend)
        self._channel = process.channel
        why: PluginError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._read(process.channel))
                group.create_task(self._watch())
                group.create_task(self._greet())
        except* _Over as over:
            first = over.exceptions[0]
            why = first.error if isinstance(first, _Over) else PluginError(self.name, "its process ended")
        finally:
            self._forget_process()
            with suppress(ChannelClosed):
                await self._end_process(process)
        return await self._why(process, why)

    def _forget_process(self) -> None:
        self._group = self._channel = None
        self.is_live = False
        self.services = ()
        self._loaded.clear()
        self._configured.clear()
        self._answers.interrupted()
        self._calls.fail_all(PluginError(self.name, "its process ended"))
        for where in self._faulty:
            self._faults.succeeded(self.name, where)
        self._faulty.clear()

    async def _end_process(self, process: PluginProcessPort) -> None:
        process.channel.close()
        process.kill()
        self._backend.released(self.name)

    async def _why(self, process: PluginProcessPort, error: PluginError | None) -> PluginError | None:
        if error is not None and not isinstance(error, _Gone):
            return error
        try:
            async with asyncio.timeout(self._limits.end_s):
                ended = await process.ended()
        except TimeoutError:
            return PluginError(self.name, "its process does not end")
        return PluginError(self.name, f"its process {ended.words()}")

    # --- the tasks of a living process

    async def _greet(self) -> None:
        hooks = self._candidate.manifest.hooks
        self._post(Begin(PROTOCOL, self.name, self._candidate.target, self._candidate.manifest.config, hooks))
        try:
            async with asyncio.timeout(self._limits.load_s):
                await self._loaded.wait()
        except TimeoutError:
            raise _Over(PluginStalled(self.name, f"was not imported within {self._limits.load_s:g} s")) from None
        self.configure()
        await self._configured.wait()
        await self._may_start.wait()
        if "appliance_start" in hooks:
            await self._call_once("appliance_start", {})
        if "appliance_netmap_changed" in hooks:
            self._tell_netmap(full_change(self._backend.netmap()))
        self.is_live = True
        for kind in {REFRESHES[hook] for hook in hooks if hook in REFRESHES}:
            self._backend.request_refresh(kind, f"plugin {self.name} started")
        await self._backend.sleep(MENDED_S)
        self._faults.succeeded(self.name, WHERE)

    async def _watch(self) -> None:
        pong: asyncio.Future[msgspec.Raw] | None = None
        before = self._backend.clock.now()
        while True:
            await self._backend.sleep(self._limits.watch_s)
            now = self._backend.clock.now()
            late = now - before - self._limits.watch_s
            before = now
            if late > self._limits.watch_s:
                self._calls.forgive(late)
            overdue = self._calls.overdue(now)
            if overdue is not None:
                what, limit_s = overdue
                raise _Over(PluginStalled(self.name, f"{what} did not return within {limit_s:g} s; it was ended"))
            if self._loaded.is_set() and (pong is None or pong.done()):
                number, pong = self._calls.add("its event loop", now, self._limits.stall_s)
                self._post(Ping(number))

    async def _read(self, channel: Channel) -> None:
        count = 0
        while True:
            try:
                data, _descriptors = await channel.receive()
                message = decode_to_host(data)
            except ChannelClosed:
                raise _Over(_Gone(self.name, "its process ended")) from None
            except msgspec.MsgspecError as error:
                raise _Over(PluginError(self.name, f"its process sent nonsense: {error}")) from None
            self._receive(message)
            count += 1
            if count % 16 == 0:
                await asyncio.sleep(0)  # what arrived at once must not hold up the loop

    def _receive(self, message: object) -> None:
        match message:
            case Result():
                self._calls.answered(message)
            case HostCall():
                self._serve_soon(message)
            case Loaded(text, mend):
                if text:
                    raise _Over(PluginRefused(self.name, _without_name(self.name, text), mend=mend))
                self._loaded.set()
            case Services(names):
                self.services = names[:MAX_CALLS]
            case Fault(where, text):
                self._service_fault(where[:80], text[:500])

    def _service_fault(self, where: str, text: str) -> None:
        if not text:
            self._faulty.discard(where)
            self._faults.succeeded(self.name, where)
        elif len(self._faulty) < MAX_CALLS:
            self._faulty.add(where)
            self._faults.failed(self.name, where, PluginError(self.name, f"failed in {where}: {text}"))

    # --- the handle

    def _serve_soon(self, call: HostCall) -> None:
        if call.method == "log" and not self._may_log():
            return
        if self._serving >= MAX_CALLS:
            self._post(Result(call.call, code="too-many-calls", text=f"more than {MAX_CALLS} calls at once"))
            return
        assert self._group is not None
        self._serving += 1
        self._group.create_task(self._serve(call))

    def _may_log(self) -> bool:
        second = int(self._backend.clock.now())
        count = self._lines[1] + 1 if self._lines[0] == second else 1
        self._lines = (second, count)
        return count <= LINES_PER_S

    async def _serve(self, call: HostCall) -> None:
        try:
            positional, named = unpack_method(call.method, call.arguments)
            value = await getattr(self._handle, call.method)(*positional, **named)
            if call.method in SOCKET_METHODS:
                self._post(Result(call.call), [value.detach()])
            else:
                self._post(Result(call.call, pack(value)))
        except ApplianceError as error:
            self._post(Result(call.call, code=error.code, text=error.text or "failed", mend=error.mend))
        except (msgspec.MsgspecError, KeyError, ValueError, TypeError) as error:
            self._post(Result(call.call, code="bad-call", text=f"{call.method}: {error}"))
        finally:
            self._serving -= 1

    # --- calling

    def answer(self, hook: str, arguments: dict[str, Any]) -> Any:
        """What the core gets when it asks: the last answer; the question goes out meanwhile."""
        if hook == "appliance_netmap_changed":
            if self.is_live:
                self._tell_netmap(arguments["change"])
        elif hook in ASKED:
            self._ask(hook, arguments)
        return self._answers.last(hook)

    def configure(self) -> None:
        """Give the settings that hold now; the plugin keeps its old ones when they are wrong."""
        if self._loaded.is_set():
            self._spawn(self._configure())

    async def check(self, table: Mapping[str, Any]) -> None:
        """Raises `ConfigError` when the settings are wrong; a process that is not there cannot object."""
        if not self._loaded.is_set():
            return
        number, future = self._calls.add("appliance_configure", self._backend.clock.now(), self._limits.hook_s)
        self._post(Configure(number, dict(table), check_only=True))
        try:
            await future
        except ConfigError:
            raise
        except ApplianceError:
            return

    async def run_command(self, command: str, arguments: tuple[str, ...]) -> CommandReply:
        """Raises `ApplianceError`."""
        if not self.is_live:
            raise PluginError(self.name, "is not running", mend="see: waypost plugins list")
        reply = await self._call("appliance_run_command", {"command": command, "arguments": arguments})
        if reply is None:
            raise PluginError(self.name, f"does not know the command {command}")
        assert isinstance(reply, CommandReply)
        return reply

    async def refresh_panel(self) -> None:
        """Ask for the panel; the next `answer` has it."""
        if self.is_live and self._answers.may_ask("appliance_status_panel", {}):
            await self._ask_once("appliance_status_panel", {})

    def _ask(self, hook: str, arguments: dict[str, Any]) -> None:
        if self.is_live and self._answers.may_ask(hook, arguments):
            self._spawn(self._ask_once(hook, arguments))

    async def _ask_once(self, hook: str, arguments: dict[str, Any]) -> None:
        value, error = None, None
        try:
            value = await self._call(hook, arguments)
            self._faults.succeeded(self.name, hook)
        except ApplianceError as problem:
            error = self._failed(hook, problem)
        if self._answers.answered(hook, value, error) and hook in REFRESHES:
            await self._refresh(REFRESHES[hook])
        waiting = self._answers.waiting(hook)
        if waiting is not None:
            self._ask(hook, waiting)

    async def _refresh(self, kind: RefreshKind) -> None:
        """Have the core look; an answer that differs each time may not keep it busy."""
        pause = self._refreshed.get(kind, -REFRESH_PAUSE_S) + REFRESH_PAUSE_S - self._backend.clock.now()
        if pause > 0:
            await self._backend.sleep(pause)
        self._refreshed[kind] = self._backend.clock.now()
        self._backend.request_refresh(kind, f"plugin {self.name}")

    async def _call_once(self, hook: str, arguments: dict[str, Any]) -> None:
        """A hook without an answer that matters."""
        try:
            number, future = self._calls.add(hook, self._backend.clock.now(), self._limits.hook_s)
            self._post(CallHook(number, hook, pack_hook(arguments)))
            await future
            self._answers.answered(hook, None, None)
            self._faults.succeeded(self.name, hook)
        except ApplianceError as problem:
            self._answers.answered(hook, None, self._failed(hook, problem))

    async def _call(self, hook: str, arguments: dict[str, Any]) -> Any:
        number, future = self._calls.add(hook, self._backend.clock.now(), self._limits.hook_s)
        self._post(CallHook(number, hook, pack_hook(arguments)))
        try:
            return unpack_hook_result(hook, await future)
        except msgspec.MsgspecError as error:
            raise PluginError(self.name, f"{hook}: {error}") from None

    async def _configure(self) -> None:
        number, future = self._calls.add("appliance_configure", self._backend.clock.now(), self._limits.hook_s)
        self._post(Configure(number, dict(self._table())))
        try:
            self.told = msgspec.msgpack.decode(await future, type=Told)
        except ApplianceError as error:
            self._failed("appliance_configure", error)
            self._note_first(error)
            return
        self._faults.succeeded(self.name, "appliance_configure")
        self._configured.set()
        self._note_first(None)

    def _tell_netmap(self, change: NetmapChange) -> None:
        self._spawn(self._call_once("appliance_netmap_changed", {"change": change}))

    def _failed(self, where: str, error: ApplianceError) -> PluginError:
        text = _without_name(self.name, error.text)
        known = PluginError(self.name, text, mend=error.mend)
        self._faults.failed(self.name, where, known)
        return known

    def _note_first(self, error: ApplianceError | None) -> None:
        if not self._first.done():
            self._first.set_result(error)

    def _spawn(self, work: Any) -> None:
        if self._group is None:
            work.close()
            return
        try:
            self._group.create_task(work)
        except RuntimeError:  # the group is ending
            work.close()

    def _post(self, message: ToPlugin, descriptors: list[int] | None = None) -> None:
        """A process that is gone is noticed by its reader."""
        if self._channel is not None:
            with suppress(ChannelClosed):
                self._channel.post(encode(message), descriptors or [])


class _Gone(PluginError):
    """The channel closed; the exit status says more."""


def _without_name(name: str, text: str) -> str:
    return text.removeprefix(f"plugin {name}: ")
