"""The plugin's side of the border: runs one plugin in this process until told to end.

Hooks run in the loop's thread without a guard: `waypostd` ends the process when it does not answer in time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from appliance.api.settings import setting_fields
from appliance.api.values import JsonValue, LogLevel
from appliance.pluginhost.apps.border import (
    METHODS,
    SOCKET_METHODS,
    pack,
    pack_method,
    unpack,
    unpack_hook,
)
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
    ToHost,
    Told,
    decode_to_plugin,
    encode,
)
from appliance.pluginhost.apps.remote_handle import RemoteHandle
from appliance.pluginhost.errors import PluginError, PluginRefused
from appliance.pluginhost.hooks import Hooks
from appliance.pluginhost.imports import import_class, import_object, make_plugin
from appliance.pluginhost.services import ServiceSupervisor
from appliance.pluginhost.settings import parse_settings, plain_settings
from appliance.ports.channels import Channel, ChannelClosed
from appliance.ports.clock import Clock
from appliance.ports.randomness import Randomness
from appliance.types.errors import ApplianceError, ConfigError


class PluginRunner:
    """`out_of_memory` ends the process: what a plugin is worth after that nobody knows."""

    def __init__(
        self, channel: Channel, clock: Clock, randomness: Randomness, out_of_memory: Callable[[], None]
    ) -> None:
        self._channel = channel
        self._out_of_memory = out_of_memory
        self.clock = clock
        self.randomness = randomness
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._count = 0
        self._name = ""
        self._config_class: type = object
        self._hooks = Hooks(self)
        self._services = ServiceSupervisor(self, self)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until `End` or until the other side is gone."""
        with suppress(ChannelClosed):
            if not await self._begin():
                return
            while True:
                data, descriptors = await self._channel.receive()
                message = decode_to_plugin(data)
                if isinstance(message, End):
                    break
                self._receive(message, descriptors)
        await self._services.remove(self._name)
        if self._name in self._hooks.registered:
            with suppress(PluginError):
                self._hooks.invoke(self._name, "appliance_stop", {})

    async def _begin(self) -> bool:
        data, _ = await self._channel.receive()
        message = decode_to_plugin(data)
        assert isinstance(message, Begin)
        try:
            self._load(message)
        except MemoryError:
            self._out_of_memory()
        except PluginError as error:
            self._post(Loaded(error.text, error.mend))
            return False
        self._post(Loaded())
        return True

    def _load(self, begin: Begin) -> None:
        self._name = begin.name
        if begin.protocol != PROTOCOL:
            raise PluginRefused(begin.name, "waypostd and waypost-apps are of different releases", mend="restart both")
        self._config_class = import_class(begin.name, begin.config)
        plugin = make_plugin(begin.name, import_object(begin.name, begin.target))
        self._hooks.register(begin.name, plugin, RemoteHandle(begin.name, self._ask, self.clock), begin.hooks)

    # --- what comes in

    def _receive(self, message: object, descriptors: list[int]) -> None:
        match message:
            case Ping(call):
                self._post(Result(call))
            case Result():
                self._answered(message, descriptors)
            case Configure(call):
                self._answer(call, lambda: self._configure(message))
            case CallHook(call):
                self._answer(call, lambda: self._call_hook(message))

    def _answer(self, call: int, work: Callable[[], Any]) -> None:
        try:
            self._post(Result(call, pack(work())))
        except MemoryError:
            self._out_of_memory()
        except ApplianceError as error:
            if isinstance(error.__cause__, MemoryError):
                self._out_of_memory()
            key = error.key if isinstance(error, ConfigError) else ""
            self._post(Result(call, code=error.code, text=error.text or "failed", mend=error.mend, key=key))
        except (msgspec.MsgspecError, TypeError, ValueError, KeyError) as error:
            self._post(Result(call, code="plugin-result", text=f"cannot be sent or read: {error}"))

    def _configure(self, message: Configure) -> Any:
        config = parse_settings(self._name, self._config_class, message.table)
        if not message.check_only:
            self._hooks.invoke(self._name, "appliance_configure", {"config": config})
        return Told(plain_settings(config), setting_fields(config, helped=True))

    def _call_hook(self, message: CallHook) -> Any:
        if message.hook == "appliance_start":
            services = self._hooks.invoke(self._name, message.hook, {}) or ()
            self._services.add(self._name, services)
            names = self._services.names(self._name)
            self._post(Services(names))
            return None
        return self._hooks.invoke(self._name, message.hook, unpack_hook(message.hook, message.arguments))

    def _answered(self, result: Result, descriptors: list[int]) -> None:
        future = self._calls.pop(result.call, None)
        if future is None or future.done():
            for descriptor in descriptors:
                os.close(descriptor)
        elif result.text:
            future.set_exception(ApplianceError(result.text, mend=result.mend, code=result.code))
        else:
            future.set_result(descriptors[0] if descriptors else result.value)

    # --- what goes out

    async def _ask(self, method: str, *arguments: Any) -> Any:
        self._count += 1
        number = self._count
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        try:
            self._post(HostCall(number, method, pack_method(method, arguments)))
            value = await future
        finally:
            self._calls.pop(number, None)
        return value if method in SOCKET_METHODS else unpack(value, METHODS[method].result)

    def _post(self, message: ToHost) -> None:
        self._channel.post(encode(message))

    # --- toward Hooks and ServiceSupervisor

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def log(self, source: str, level: LogLevel, event: str, fields: Mapping[str, JsonValue]) -> None:
        """A line without waiting for its way."""
        with suppress(ChannelClosed):
            self._count += 1
            self._post(HostCall(self._count, "log", pack_method("log", (level, event, fields))))

    def failed(self, plugin: str, where: str, error: BaseException) -> None:
        if isinstance(error, MemoryError):
            self._out_of_memory()
        line = error.line() if isinstance(error, ApplianceError) else f"{type(error).__name__}: {error}"
        with suppress(ChannelClosed):
            self._post(Fault(where, line))

    def succeeded(self, plugin: str, where: str) -> None:
        with suppress(ChannelClosed):
            self._post(Fault(where))
