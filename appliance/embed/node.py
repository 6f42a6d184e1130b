"""`Node`: a node of its own, or one that runs already, with its mesh as sockets.

It speaks with its daemon by the local API. TCP is the kernel's: what `dial` and `listen` give are ordinary sockets,
made in the node's network; no data passes through this module.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from aiohttp import web

from appliance.embed.child import ChildDaemon
from appliance.embed.connector import MeshConnector
from appliance.embed.errors import LoginNeededError, NodeError
from appliance.localapi.handout_client import take_socket
from appliance.localapi.mesh_schema import DialRequest, ListenRequest, WhoisReply
from appliance.localapi.schema import API, HOST, ErrorReply, PrefsPatch, Status, UpReply, UpRequest
from appliance.types.errors import ApplianceError
from appliance.types.events import BackendState

T = TypeVar("T")
JOIN_S = 120.0
_CALL_S = 30.0


class Node:
    """Enter it to join the mesh, leave it to go.

    `state_dir` keeps the node's keys, so that it is the same node next time; None: a new node each time, forgotten at
    the end (use an ephemeral key). `auth_key` joins without a person; else `on_login` is given the page to open.
    `socket`: use the gateway that serves this local API instead of an own one; nothing else counts then.
    `join_s`: longest time to be in the mesh. Methods raise `ApplianceError`, mostly `NodeError`.
    """

    def __init__(
        self,
        state_dir: str | os.PathLike[str] | None = None,
        *,
        control_url: str = "",
        auth_key: str = "",
        hostname: str = "",
        tags: Sequence[str] = (),
        on_login: Callable[[str], None] | None = None,
        socket: str | os.PathLike[str] | None = None,
        port: int = 0,
        join_s: float = JOIN_S,
    ) -> None:
        self._state_dir = Path(state_dir) if state_dir is not None else None
        self._request = UpRequest(
            control_url=control_url, auth_key=auth_key, prefs=_prefs(hostname=hostname, tags=tuple(tags))
        )
        self._on_login = on_login
        self._given_socket = str(socket) if socket is not None else ""
        self._port = port
        self._join_s = join_s
        self._socket = ""
        self._child: ChildDaemon | None = None
        self._http: aiohttp.ClientSession | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._socket = self._given_socket or await self._start(stack)
            self._http = await stack.enter_async_context(
                aiohttp.ClientSession(
                    connector=aiohttp.UnixConnector(self._socket), timeout=aiohttp.ClientTimeout(total=_CALL_S)
                )
            )
            if not self._given_socket:
                await self._join()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        self._http = None
        self._child = None

    # --- the mesh

    async def dial(self, host: str, port: int, *, timeout_s: float = 30.0) -> socket.socket:
        """A TCP connection to a peer (by name or address): a connected, non-blocking socket, the caller's to close."""
        return await take_socket(self._socket, DialRequest(host=host, port=port, timeout_s=timeout_s))

    async def open_connection(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """`dial`, as asyncio streams."""
        return await asyncio.open_connection(sock=await self.dial(host, port))

    async def listen(self, port: int, address: str = "") -> socket.socket:
        """A TCP listener on an address of this node, "" for the first one (IPv4); any `port` is allowed, 0 takes one.

        For asyncio: `asyncio.start_server(handler, sock=...)`. The packet filter decides who gets through.
        """
        return await take_socket(self._socket, ListenRequest(port=port, address=address))

    async def whois(self, address: str | tuple[Any, ...]) -> WhoisReply:
        """The peer that has this address: text with or without a port, or what `getpeername` gave."""
        text = address if isinstance(address, str) else str(address[0])
        return await self._call("GET", f"whois?address={quote(text)}", WhoisReply)

    async def status(self) -> Status:
        return await self._call("GET", "status", Status)

    async def addresses(self) -> tuple[str, ...]:
        """This node's own, IPv4 first."""
        return (await self._call("GET", "status?peers=0", Status)).self_node.addresses

    @property
    def localapi(self) -> str:
        """Path of its local API, for `waypost --socket`."""
        return self._socket

    # --- aiohttp

    def connector(self, **options: Any) -> MeshConnector:
        """For `aiohttp.ClientSession(connector=...)`; `options` are those of `aiohttp.BaseConnector`."""
        return MeshConnector(self, **options)

    async def sites(self, runner: web.BaseRunner, port: int = 80, **options: Any) -> list[web.SockSite]:
        """Serve a set-up runner on `port` of each address of this node; `options` are those of `web.SockSite`."""
        found = []
        for address in await self.addresses():
            site = web.SockSite(runner, await self.listen(port, address), **options)
            await site.start()
            found.append(site)
        return found

    # --- life

    async def _start(self, stack: AsyncExitStack) -> str:
        """The daemon and its folders; `stack` ends it first, then forgets a node that is not to be kept."""
        if self._state_dir is None:
            self._state_dir = Path(stack.enter_context(TemporaryDirectory(prefix="waypost-")))
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        run = Path(stack.enter_context(TemporaryDirectory(prefix="waypost-run-")))  # short, and this user's alone
        path = run / "waypostd.sock"
        self._child = ChildDaemon.start(self._state_dir, path, port=self._port)
        stack.push_async_callback(self._child.close)
        await self._child.wait_for(path)
        return str(path)

    async def _join(self) -> None:
        told = ""
        try:
            async with asyncio.timeout(self._join_s):
                await self._call("POST", "up", UpReply, self._request)
                while (status := await self._settled()).state != BackendState.RUNNING or status.waiting_for:
                    if status.auth_url and status.auth_url != told:
                        told = status.auth_url
                        self._tell(told)
        except TimeoutError:
            mend = "see waypostd.log in its state folder"
            raise NodeError(f"the node is not in the mesh after {self._join_s:g} s", mend=mend) from None

    async def _settled(self) -> Status:
        """The status after a short while. Raises `NodeError` where it says that the login failed."""
        if self._child is not None:
            self._child.check()
        await asyncio.sleep(0.05)
        status = await self._call("GET", "status?peers=0", Status)
        if status.login_error is not None:
            raise NodeError(status.login_error.text, mend=status.login_error.mend, code=status.login_error.code)
        return status

    def _tell(self, url: str) -> None:
        if self._on_login is None:
            raise LoginNeededError(url)
        self._on_login(url)

    async def _call(self, method: str, name: str, kind: type[T], body: Any = None) -> T:
        if self._http is None:
            raise NodeError("the node is not running", mend="use it within: async with Node(...) as node")
        data = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": "application/json"}
        try:
            async with self._http.request(method, f"http://{HOST}{API}/{name}", data=data, headers=headers) as reply:
                text = await reply.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if self._child is not None:
                self._child.check()
            raise NodeError(f"the node does not answer: {error}", mend="see waypostd.log") from error
        if reply.status >= 400:
            raise _refusal(reply.status, text)
        return msgspec.json.decode(text, type=kind)


def _prefs(*, hostname: str, tags: tuple[str, ...]) -> PrefsPatch:
    """Only what was given."""
    given: dict[str, Any] = {"hostname": hostname} if hostname else {}
    if tags:
        given["advertise_tags"] = tags
    return PrefsPatch(**given)


def _refusal(status: int, body: bytes) -> ApplianceError:
    with suppress(msgspec.MsgspecError):
        reply = msgspec.json.decode(body, type=ErrorReply)
        return NodeError(reply.text, mend=reply.mend, code=reply.code)
    return NodeError(f"the node answered with HTTP status {status}", mend="is something else serving that socket?")
