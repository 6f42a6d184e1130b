"""`ProcessLauncher` over `waypost-apps`: a small process that forks one process per plugin.

It is reached through its unit's socket, or started as a child. Requests and ends of processes travel over one channel;
each plugin gets a socket pair of its own, whose other end goes over that channel.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import socket
import subprocess
import sys
from contextlib import suppress

import msgspec

import appliance
from appliance.drivers.channel import SocketChannel
from appliance.drivers.least_privilege import can_run_python_as
from appliance.ports.channels import Channel, ChannelClosed
from appliance.ports.processes import Exit
from appliance.types.errors import ApplianceError

log = logging.getLogger("waypost-apps")

APPS_USER = "waypost-apps"
MODULE = "appliance.daemon.apps"
MAX_FROM_PLUGIN_BYTES = 2 * 1024 * 1024
END_S = 5.0
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ")
"""All that a started launcher gets of this process's environment."""


class Launch(msgspec.Struct, frozen=True, tag="launch"):
    """With one descriptor: the plugin's end of its channel."""

    number: int
    name: str
    memory_bytes: int


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    number: int


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """`status` as in `Exit`."""

    number: int
    status: int


ToLauncher = Launch | Kill
encode = msgspec.msgpack.Encoder().encode
decode_to_launcher = msgspec.msgpack.Decoder(ToLauncher).decode
decode_ended = msgspec.msgpack.Decoder(Ended).decode


class LauncherError(ApplianceError):
    code = "plugin-launcher"


class LaunchedProcess:
    def __init__(self, channel: Channel, number: int, launcher: AppsLauncher) -> None:
        self._channel = channel
        self._number = number
        self._launcher = launcher

    @property
    def channel(self) -> Channel:
        return self._channel

    def kill(self) -> None:
        self._launcher.kill(self._number)

    async def ended(self) -> Exit:
        return await self._launcher.ended(self._number)


class AppsLauncher:
    """`path` "" starts the launcher as a child at first use, else it is the socket of its unit."""

    def __init__(self, path: str = "") -> None:
        self._path = path
        self._control: SocketChannel | None = None
        self._reader: asyncio.Task[None] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._ends: dict[int, asyncio.Future[Exit]] = {}
        self._opening: asyncio.Task[SocketChannel] | None = None

    async def launch(self, name: str, memory_bytes: int) -> LaunchedProcess:
        control = await self._connected()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._number += 1
        self._ends[self._number] = asyncio.get_running_loop().create_future()
        channel = SocketChannel(ours, MAX_FROM_PLUGIN_BYTES)
        try:
            control.post(encode(Launch(self._number, name, memory_bytes)), [theirs.detach()])
        except ChannelClosed:
            channel.close()
            raise LauncherError("waypost-apps went away", mend="see its log") from None
        return LaunchedProcess(channel, self._number, self)

    def kill(self, number: int) -> None:
        end = self._ends.get(number)
        if self._control is not None and end is not None and not end.done():
            with suppress(ChannelClosed):
                self._control.post(encode(Kill(number)))

    async def ended(self, number: int) -> Exit:
        """Once per process."""
        try:
            return await asyncio.shield(self._ends[number])
        finally:
            if self._ends[number].done():
                del self._ends[number]

    async def close(self) -> None:
        """The launcher ends its plugins when its channel closes."""
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        control, self._control = self._control, None
        reader, self._reader = self._reader, None
        if control is not None:
            control.close()
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        self._all_gone()
        child, self._child = self._child, None
        if child is not None:
            await asyncio.to_thread(_reap, child)

    # --- the launcher

    async def _connected(self) -> SocketChannel:
        if self._control is not None:
            return self._control
        if self._opening is None or self._opening.done():
            self._opening = asyncio.get_running_loop().create_task(self._open(), name="waypost-apps: start")
        return await asyncio.shield(self._opening)  # who gives up waiting must not lose a child and its socket

    async def _open(self) -> SocketChannel:
        control = SocketChannel(await (self._connect() if self._path else asyncio.to_thread(self._spawn)))
        self._control = control
        self._reader = asyncio.get_running_loop().create_task(self._read(control), name="waypost-apps")
        return control

    async def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, self._path)
        except OSError as error:
            sock.close()
            text = f"waypost-apps cannot be reached at {self._path}: {error.strerror or error}"
            raise LauncherError(text, mend="start it with: systemctl start waypost-apps.socket") from error
        return sock

    def _spawn(self) -> socket.socket:
        if self._child is not None:
            _reap(self._child)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        user, note = plugin_user()
        if note:
            log.warning(note)
        command = [sys.executable, "-P", "-m", MODULE, "--control", str(theirs.fileno())]
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        try:
            self._child = subprocess.Popen(
                [*command, *(["--user", user] if user else [])],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise LauncherError(f"waypost-apps cannot be started: {error.strerror or error}") from error
        finally:
            theirs.close()
        return ours

    async def _read(self, control: SocketChannel) -> None:
        try:
            while True:
                data, _ = await control.receive()
                message = decode_ended(data)
                end = self._ends.get(message.number)
                if end is not None and not end.done():
                    end.set_result(Exit(message.status))
        except (ChannelClosed, msgspec.MsgspecError):
            if self._control is control:
                self._control = None
            control.close()
            self._all_gone()

    def _all_gone(self) -> None:
        for end in self._ends.values():
            if not end.done():
                end.set_result(Exit(None))


def plugin_user() -> tuple[str, str]:
    """The user that plugins run as when started by root, and what is wrong with that choice, "" for nothing."""
    if os.geteuid() != 0:
        return "", ""
    for name in (APPS_USER, "nobody"):
        try:
            uid = pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
        if can_run_python_as(uid, sys.executable, os.__file__, appliance.__path__[0] + "/types/errors.py"):
            return name, ""
    return "", "plugins run as root without capabilities: no other user can read this installation"


def _reap(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
