"""Entry point of `waypost-apps`: forks one process per plugin on behalf of `waypostd`, and ends with it.

A single thread without an event loop, so that forking is safe; what plugins need is imported before, and shared. Each
plugin's process holds nothing but its channel: no capability, no key, and a limit of memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import NoReturn

import msgspec

from appliance.drivers.channel import HEADER, FrameReader, SocketChannel, read_some
from appliance.drivers.least_privilege import die_with_parent, give_up_privileges, set_process_name
from appliance.drivers.plugin_launcher import Ended, Kill, Launch, decode_to_launcher, encode
from appliance.pluginhost.apps.runner import PluginRunner
from appliance.ports.channels import ChannelClosed
from appliance.ports.clock import SystemClock
from appliance.ports.processes import MEMORY_EXIT
from appliance.ports.randomness import SystemRandomness
from appliance.types.errors import ApplianceError

FIRST_LISTEN_FD = 3
MAX_FILES = 1024


class Launcher:
    """Serves one connection; its end is the end of all children."""

    def __init__(self, control: socket.socket) -> None:
        control.setblocking(True)
        self._control = control
        self._reader = FrameReader()
        self._poller = select.poll()
        self._poller.register(control, select.POLLIN)
        self._children: dict[int, tuple[int, int]] = {}
        """Number and process id by pidfd."""

    def serve(self) -> None:
        try:
            while True:
                for descriptor, _ in self._poller.poll():
                    if descriptor == self._control.fileno():
                        self._read()
                    elif descriptor in self._children:
                        self._reap(descriptor)
        except (ChannelClosed, OSError, msgspec.MsgspecError):
            pass
        finally:
            for descriptor in tuple(self._children):
                self._kill(descriptor)
                self._reap(descriptor, tell=False)

    def _read(self) -> None:
        self._reader.feed(*read_some(self._control))
        while (message := self._reader.next_message()) is not None:
            data, descriptors = message
            request = decode_to_launcher(data)
            match request:
                case Launch() if descriptors:
                    self._launch(request, socket.socket(fileno=descriptors[0]))
                case Kill(number):
                    for descriptor in [fd for fd, (known, _) in self._children.items() if known == number]:
                        self._kill(descriptor)

    def _launch(self, request: Launch, channel: socket.socket) -> None:
        process = os.fork()
        if process == 0:
            self._leave()
            run_plugin(request, channel)
        channel.close()
        descriptor = os.pidfd_open(process)
        self._children[descriptor] = (request.number, process)
        self._poller.register(descriptor, select.POLLIN)

    def _leave(self) -> None:
        """In the child: let go of what is the launcher's."""
        self._control.close()
        self._reader.close()
        for descriptor in self._children:
            os.close(descriptor)

    def _kill(self, descriptor: int) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)

    def _reap(self, descriptor: int, *, tell: bool = True) -> None:
        number, process = self._children.pop(descriptor)
        self._poller.unregister(descriptor)
        os.close(descriptor)
        _, status = os.waitpid(process, 0)
        if tell:
            data = encode(Ended(number, os.waitstatus_to_exitcode(status)))
            self._control.sendall(HEADER.pack(len(data), 0) + data)


def run_plugin(request: Launch, channel: socket.socket) -> NoReturn:
    """The plugin's process, from the fork to its end."""
    status = 1
    try:
        die_with_parent()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        set_process_name(f"wp-{request.name}")
        limit_resources(request.memory_bytes)
        asyncio.run(_run_plugin(channel))
        status = 0
    except MemoryError:
        status = MEMORY_EXIT
    except BaseException as error:
        sys.stderr.write(f"waypost-apps: {request.name}: {type(error).__name__}: {error}\n")
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def limit_resources(memory_bytes: int) -> None:
    """Private memory, open files, no core dumps; nothing of it can be raised again."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    files = min(MAX_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


async def _run_plugin(sock: socket.socket) -> None:
    asyncio.get_running_loop().set_exception_handler(_exit_without_memory)
    channel = SocketChannel(sock)
    try:
        await PluginRunner(channel, SystemClock(), SystemRandomness(), _out_of_memory).run()
    finally:
        channel.close()


def _out_of_memory() -> NoReturn:
    os._exit(MEMORY_EXIT)


def _exit_without_memory(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    if isinstance(context.get("exception"), MemoryError):
        _out_of_memory()
    loop.default_exception_handler(context)


def control_socket(descriptor: int | None) -> socket.socket:
    """The inherited channel, or the first connection to the socket that systemd listens on. Raises `ApplianceError`."""
    if descriptor is not None:
        return socket.socket(fileno=descriptor)
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        text = "waypost-apps is started by its socket unit or by waypostd"
        raise ApplianceError(text, mend="run: systemctl start waypost-apps.socket", code="no-socket")
    with socket.socket(fileno=FIRST_LISTEN_FD) as listener:
        connection, _ = listener.accept()
    connection.set_inheritable(False)
    return connection


def main() -> None:
    parser = argparse.ArgumentParser(prog="waypost-apps", description="Runs plugins beside waypostd.")
    parser.add_argument("--control", type=int, metavar="FD", help="Inherited channel to waypostd.")
    parser.add_argument("--user", default="", help="User to become; by default the present one.")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for waypostd, which ends us
    try:
        control = control_socket(options.control)
        control.set_inheritable(False)
        give_up_privileges(options.user)
    except ApplianceError as error:
        sys.stderr.write(f"waypost-apps: {error.line()}\n")
        sys.exit(1)
    gc.collect()
    gc.freeze()  # children share these pages as long as nobody counts references anew
    Launcher(control).serve()


if __name__ == "__main__":
    main()
