"""`InnerNetwork`: the outer end of the process inside (`inside.py`), and the drivers that work through it.

The calling user owns the inner user namespace, so the kernel lets this process use everything made there (netlink,
raw and low-numbered sockets, the TUN device) as root of it, without a capability of its own (user_namespaces(7)).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

from appliance.drivers.nftables import NftFirewall
from appliance.drivers.rootless import inside
from appliance.ports.sysctl import SysctlError
from appliance.types.errors import PrivilegeError, Severity, UnderlayError

START_S = 10.0
ANSWER_S = 10.0
END_S = 5.0


class NetworkLostError(UnderlayError):
    """The process that holds the inner network has ended."""

    code = "rootless-network"
    severity = Severity.HIGH


class _Line:
    """One conversation; a lock keeps request and reply together. Calls block."""

    def __init__(self, sock: socket.socket, timeout_s: float | None) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        sock.settimeout(timeout_s)

    def first(self) -> dict[str, Any]:
        return inside.receive_message(self._sock)[0]

    def ask(self, verb: str, **request: Any) -> tuple[dict[str, Any], int | None]:
        """Raises OSError as the kernel raised it inside, and `NetworkLostError`."""
        try:
            with self._lock:
                inside.send_message(self._sock, {"verb": verb, **request})
                reply, descriptor = inside.receive_message(self._sock)
        except (inside.ConversationOverError, OSError) as error:
            text = "the process that holds the rootless network has ended"
            raise NetworkLostError(text, mend="start waypostd again; see its log") from error
        if "error" in reply:
            raise OSError(reply["errno"], reply["error"])
        return reply, descriptor

    def close(self) -> None:
        self._sock.close()


class InnerNetwork:
    """A network of our own. `with` starts and ends it; sockets that were handed out live on."""

    def __init__(self, child: subprocess.Popen[bytes], quick: socket.socket, slow: socket.socket) -> None:
        self._child = child
        self._quick = _Line(quick, ANSWER_S)
        self._slow = _Line(slow, None)

    @classmethod
    def start(cls) -> Self:
        """Raises `PrivilegeError` where the kernel gives an ordinary user no namespaces. Blocks some 30 ms."""
        quick, quick_end = socket.socketpair()
        slow, slow_end = socket.socketpair()
        numbers = [quick_end.fileno(), slow_end.fileno()]
        command = [sys.executable, "-I", "-S", str(Path(inside.__file__)), *map(str, numbers)]
        try:
            child = subprocess.Popen(
                command, pass_fds=numbers, stdin=subprocess.DEVNULL, start_new_session=True, env={}
            )
        finally:
            quick_end.close()
            slow_end.close()
        network = cls(child, quick, slow)
        try:
            network._greet()
        except BaseException:
            network.close()
            raise
        return network

    def _greet(self) -> None:
        try:
            reply = self._quick.first()
        except (inside.ConversationOverError, OSError) as error:
            text = "the process that holds the rootless network did not start"
            raise NetworkLostError(text, mend="see the lines above") from error
        if reply != inside.READY:
            raise refusal(reply["errno"], reply["error"], reply.get("step", ""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the process inside."""
        return self._child.pid

    def open_socket(self, family: int, kind: int, protocol: int = 0, /) -> socket.socket:
        """Implements `OpenSocket`; from any thread."""
        plain = kind & ~(socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        _, descriptor = self._quick.ask("socket", family=int(family), kind=int(plain), protocol=int(protocol))
        assert descriptor is not None
        os.set_inheritable(descriptor, False)
        made = socket.socket(family, plain, protocol, fileno=descriptor)
        made.setblocking(not kind & socket.SOCK_NONBLOCK)
        return made

    def open_tun_device(self) -> int:
        """A descriptor of the TUN device; its interface will be in this network. Raises OSError."""
        _, descriptor = self._quick.ask("tun")
        assert descriptor is not None
        os.set_inheritable(descriptor, False)
        return descriptor

    async def work(self, verb: str, **request: Any) -> dict[str, Any]:
        """One of the slow verbs. A cancelled caller leaves it to end by itself."""
        reply, _ = await asyncio.to_thread(self._slow.ask, verb, **request)
        return reply

    async def ended(self) -> None:
        """Return when the process inside has ended by itself."""
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        descriptor = os.pidfd_open(self._child.pid)
        try:
            loop.add_reader(descriptor, gone.set)
            await gone.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Safe to call twice."""
        self._quick.close()
        self._slow.close()
        try:
            self._child.wait(END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


class InnerFirewall(NftFirewall):
    """The inner network's nftables."""

    def __init__(self, network: InnerNetwork) -> None:
        super().__init__(here=False)
        self._network = network

    async def _run(self, *arguments: str, text: str = "") -> tuple[int, str, str]:
        try:
            done = await self._network.work("nft", arguments=list(arguments), text=text)
        except FileNotFoundError as error:
            raise PrivilegeError("the program 'nft' is missing", mend="install the package nftables") from error
        return done["code"], done["output"], done["errors"]


class InnerSysctl:
    """`SysctlPort` of the inner network; keys outside `net/` are refused."""

    def __init__(self, network: InnerNetwork) -> None:
        self._network = network

    async def read(self, key: str) -> str | None:
        with contextlib.suppress(OSError):
            value: str = (await self._network.work("read", key=key))["value"]
            return value
        return None

    async def write(self, key: str, value: str) -> None:
        try:
            await self._network.work("write", key=key, value=value)
        except OSError as error:
            text = f"cannot set {key.replace('/', '.')} to {value} in the rootless network: {error.strerror}"
            raise SysctlError(text, mend="give the container a writable /proc/sys/net") from error

    async def children(self, key: str) -> list[str]:
        with contextlib.suppress(OSError):
            names: list[str] = (await self._network.work("list", key=key))["names"]
            return names
        return []


def refusal(number: int, reason: str, step: str) -> PrivilegeError:
    """Why there is no inner network, with the mend for each way in which kernels forbid it."""
    where = f" ({step})" if step else ""
    mend = (
        "let root run: sysctl -w kernel.unprivileged_userns_clone=1 (Debian) or "
        "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); in a container allow unshare in its seccomp profile"
    )
    if number == errno.ENOSPC:
        mend = "let root run: sysctl -w user.max_user_namespaces=1000 user.max_net_namespaces=1000"
    elif number in (errno.EINVAL, errno.ENOSYS):
        mend = "use a kernel with CONFIG_USER_NS and CONFIG_NET_NS, or run waypostd as root"
    text = f"rootless mode needs a user namespace, and the kernel gives none: {reason}{where}"
    return PrivilegeError(text, mend=mend, code="no-user-namespace")
