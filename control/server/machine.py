"""Requests inside the tunnel: `/machine/…` (control-protocol spec section 6).

Identity is the tunnel's machine key; every request that names a node key is checked against it.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import structlog

from appliance.proto.control import convert
from appliance.proto.control import messages as wire
from appliance.types.errors import ApplianceError, DecodeError
from appliance.types.ids import NodeId
from control.server.node_requests import C2N_PREFIX, PING_PREFIX
from control.service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from appliance.proto.control.tunnel_events import RequestReceived
    from control.noise.connection import TunnelConnection
    from control.server.node_calls import NodeCalls
    from control.server.node_requests import NodeRequests
    from control.server.sessions import SessionHub
    from control.service.interface import NodeFacing
    from control.service.ssh_checks import SshChecks
    from control.state.records import NodeRecord

log = structlog.get_logger("control.machine")

TEXT = "text/plain; charset=utf-8"
MAPS_TURN_S = 0.05
"""Longest time that full maps may hold the loop."""
MAP_HEADERS = (("content-type", "application/json"),)
STREAM_READ_ONLY_VERSION = 68
NOT_SERVED = {
    "/machine/map/": "there is no such map request",
    "/machine/webclient/": "this server has no web sign-in for nodes' pages",
    "/machine/tka/": "this server has no tailnet lock",
}
"""What we do not serve, in words for the client's log; a path that ends with a slash stands for all below."""
SSH_ACTION = "/machine/ssh/action/"
MAX_QUERY = 1024
_SSH_QUESTION = re.compile(r"/machine/ssh/action/([0-9]{1,15})/to/([0-9]{1,15})")


class RequestError(Exception):
    """Answer with this status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class MachineApi:
    """`control.noise.connection.TunnelHandler`."""

    def __init__(
        self,
        service: NodeFacing,
        hub: SessionHub,
        requests: NodeRequests | None = None,
        calls: NodeCalls | None = None,
        checks: SshChecks | None = None,
    ) -> None:
        self._service = service
        self._checks = checks
        self._calls = {} if calls is None else calls.calls
        self._requests = requests
        self._hub = hub
        self._one_map = asyncio.Lock()
        self._maps_until = 0.0
        self._routes: dict[tuple[str, str], Callable[[TunnelConnection, RequestReceived], Awaitable[None]]] = {
            ("POST", "/machine/register"): self._register,
            ("POST", "/machine/map"): self._map,
            ("GET", "/machine/whoami"): self._who_am_i,
            **dict.fromkeys(self._calls, self._call),
        }

    async def handle(self, connection: TunnelConnection, request: RequestReceived) -> None:
        path = request.path.partition("?")[0]
        try:
            if path.startswith((PING_PREFIX, C2N_PREFIX)):
                self._node_answer(connection, request, path)
                return
            if path.startswith(SSH_ACTION):
                await self._ssh_action(connection, request)
                return
            route = self._routes.get((request.method, path))
            if route is None:
                raise _no_route(path, {known for _, known in self._routes})
            await route(connection, request)
        except RequestError as error:
            connection.counters[f"request_{error.status}"] += 1
            connection.respond(request.stream_id, error.status, f"{error.text}\n".encode(), TEXT)
        except DecodeError as error:
            connection.counters[f"request_{error.reason}"] += 1
            connection.respond(request.stream_id, 400, f"bad request: {error.text[:200]}\n".encode(), TEXT)
        except ServiceError as error:
            connection.counters[f"request_{error.status}"] += 1
            connection.respond(request.stream_id, error.status, f"{error.line()}\n".encode(), TEXT)
        except ApplianceError as error:
            log.error("request failed", path=path, machine=connection.peer.short, error=error.line())
            connection.respond(request.stream_id, 500, b"internal error\n", TEXT)

    def stream_gone(self, connection: TunnelConnection, stream_id: int) -> None:
        self._hub.stream_gone(connection, stream_id)

    def writable(self, connection: TunnelConnection) -> None:
        self._hub.writable(connection)

    def _node_answer(self, connection: TunnelConnection, request: RequestReceived, path: str) -> None:
        """A node answers what it was asked on its map stream."""
        taken = self._requests is not None and self._requests.answered(
            connection.peer, request.method, path, request.body
        )
        if not taken:
            raise RequestError(404, "nobody waits for this answer")
        connection.respond(request.stream_id, 200, b"", TEXT)

    async def _ssh_action(self, connection: TunnelConnection, request: RequestReceived) -> None:
        """What the node that asks is to do with an SSH login to it; may take a while."""
        path, _, query = request.path.partition("?")
        found = _SSH_QUESTION.fullmatch(path)
        if request.method != "GET" or found is None or self._checks is None:
            raise RequestError(404, "not a question about an SSH login")
        source, target = (NodeId(int(number)) for number in found.groups())
        node = self._service.view().nodes.get(target)
        if node is None or node.machine_key != connection.peer:
            raise RequestError(404, "node not found: the login is to another machine")
        try:
            fields = dict(parse_qsl(query[:MAX_QUERY], max_num_fields=16))
        except ValueError:
            raise RequestError(400, "too many fields in the query") from None
        action = await self._checks.action(node, source, fields.get("local_user", ""), fields.get("auth_id", ""))
        connection.respond(request.stream_id, 200, wire.encode(action))

    async def _register(self, connection: TunnelConnection, request: RequestReceived) -> None:
        message = wire.decode(wire.RegisterRequest, request.body)
        _check_version(message.version)
        convert.node_key(message.node_key)
        response = await self._service.register(connection.peer, message, connection.remote_ip)
        connection.respond(request.stream_id, 200, wire.encode(response))

    async def _who_am_i(self, connection: TunnelConnection, request: RequestReceived) -> None:
        connection.respond(request.stream_id, 200, f"{connection.peer}\n".encode(), TEXT)

    async def _call(self, connection: TunnelConnection, request: RequestReceived) -> None:
        """A smaller request of a node that the tunnel proves."""
        message = wire.decode(wire.NodeCall, request.body)
        node = self._owned_node(connection, message.node_key)
        path = request.path.partition("?")[0]
        connection.respond(request.stream_id, 200, await self._calls[request.method, path](node, message))

    async def _map(self, connection: TunnelConnection, request: RequestReceived) -> None:
        message = wire.decode(wire.MapRequest, request.body)
        _check_version(message.version)
        await self._service.settle(convert.node_key(message.node_key))
        node = self._owned_node(connection, message.node_key)
        if connection.is_overloaded and not message.omit_peers:
            raise RequestError(503, "read the answers that wait for you first")
        if message.stream:
            await self._store_from_stream(node, message)
            await self._service.seen_at(node, connection.remote_ip)
            await self._open(connection, request, message)
        elif message.omit_peers:
            await self._store(node, message)
            connection.respond(request.stream_id, 200, b"{}")
        else:
            connection.respond(request.stream_id, 200, self._hub.one_map(node, message))

    async def _open(self, connection: TunnelConnection, request: RequestReceived, message: wire.MapRequest) -> None:
        """Full maps for a while, then everything else gets its turn, also when all nodes come back at once.

        Not one by one: what many newcomers mean for others is told together.
        """
        loop = asyncio.get_running_loop()
        async with self._one_map:
            if loop.time() >= self._maps_until:
                await asyncio.sleep(0)
                self._maps_until = loop.time() + MAPS_TURN_S
            node = self._owned_node(connection, message.node_key)
            connection.start_response(request.stream_id, 200, MAP_HEADERS)
            self._hub.open(connection, request.stream_id, node, message)

    def _owned_node(self, connection: TunnelConnection, node_key: str) -> NodeRecord:
        node = self._service.node_for(connection.peer, convert.node_key(node_key))
        if node is None:
            raise RequestError(404, "node not found: no such node key for this machine")
        return node

    async def _store(self, node: NodeRecord, message: wire.MapRequest) -> None:
        """A lite update: everything that the message brings."""
        if message.read_only:
            return
        endpoints, types = convert.typed_endpoints(message.endpoints, message.endpoint_types)
        await self._service.update_node(
            node.id,
            hostinfo=message.hostinfo,
            endpoints=endpoints,
            endpoint_types=types,
            disco_key=convert.disco_key(message.disco_key),
            capability_version=message.version,
        )

    async def _store_from_stream(self, node: NodeRecord, message: wire.MapRequest) -> None:
        """A stream request stores its disco key and version; old clients update by it, empty lists never count."""
        old = message.version < STREAM_READ_ONLY_VERSION
        endpoints, types = convert.typed_endpoints(message.endpoints, message.endpoint_types)
        take_endpoints = bool(endpoints) and (old or not node.endpoints)
        await self._service.update_node(
            node.id,
            hostinfo=message.hostinfo if old or node.hostinfo is None else None,
            endpoints=endpoints if take_endpoints else None,
            endpoint_types=types if take_endpoints else None,
            disco_key=convert.disco_key(message.disco_key),
            capability_version=message.version,
        )


def _check_version(version: int) -> None:
    if version < wire.MIN_CAPABILITY_VERSION:
        text = f"unsupported client version {version}: this server needs {wire.MIN_CAPABILITY_VERSION} or later"
        raise RequestError(400, text)


def _no_route(path: str, known: set[str]) -> RequestError:
    if path in known:
        return RequestError(405, "method not allowed")
    for known_path, reason in NOT_SERVED.items():
        if path == known_path or (known_path.endswith("/") and path.startswith(known_path)):
            return RequestError(501, reason)
    return RequestError(404, "not found")
