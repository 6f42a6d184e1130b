"""The admin socket: `/v1` as JSON over HTTP on a Unix socket, for root and the server's own user.

Each handler reads a request, calls one operation of `control.service` and shows its result; rules, authorisation and
audit are in there. An error is `{"code", "text", "mend"}`, with `problems` for a policy.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog
from aiohttp import web

from appliance.types.errors import ApplianceError, StateError
from control.policy.problems import PolicyError
from control.service import present
from control.service.actor import Actor, local_admin
from control.service.errors import DeniedError, ServiceError
from control.service.page_access import CODE_LIFE
from control.state.engines import DatabaseAwayError
from control.state.records import Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from control.service.service import ControlService

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HOST = "waypost-control"
"""The Host header of every request; pages in a browser cannot send it."""
MAX_BODY_BYTES = 16 << 20
_UCRED = struct.Struct("3i")
_log = structlog.get_logger("control.admin")


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    email: str = ""
    display_name: str = ""
    role: Role = Role.MEMBER


class NewName(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """`life_s` null = no expiry."""

    user: str | None = None
    tags: list[str] = []
    reusable: bool = False
    ephemeral: bool = False
    life_s: float | None = None
    description: str = ""


class NewApiKey(msgspec.Struct, forbid_unknown_fields=True):
    """`life_s` null = no expiry."""

    scopes: list[str]
    life_s: float | None = None
    description: str = ""


class NewOwner(msgspec.Struct, forbid_unknown_fields=True):
    user: str


class Tags(msgspec.Struct, forbid_unknown_fields=True):
    tags: list[str]


class PingWish(msgspec.Struct, forbid_unknown_fields=True):
    """`to` "": whether the node itself answers. No `kinds`: disco."""

    to: str = ""
    kinds: list[str] = []


class NodeQuestion(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    method: str = "GET"
    body: str = ""
    timeout_s: float = 30.0


class RouteList(msgspec.Struct, forbid_unknown_fields=True):
    """Empty = all."""

    routes: list[str] = []


class PolicyText(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    base_version: int | None = None


class PolicyVersion(msgspec.Struct, forbid_unknown_fields=True):
    version: int


B = TypeVar("B", bound=msgspec.Struct)


class AdminServer:
    """Serves one `ControlService` at `path`; `start` it, then `close` it."""

    def __init__(self, service: ControlService, path: Path) -> None:
        self._service = service
        self._path = path
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises `StateError` if the socket cannot be made or another server answers on it."""
        listener = _listen(self._path)
        self._runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def close(self) -> None:
        """Answer what is under way and remove the socket."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
            self._path.unlink(missing_ok=True)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[_errors_as_json], client_max_size=MAX_BODY_BYTES)
        app.add_routes(
            [
                web.get("/v1/users", self._list_users),
                web.post("/v1/users", self._create_user),
                web.patch("/v1/users/{name}", self._rename_user),
                web.delete("/v1/users/{name}", self._delete_user),
                web.get("/v1/preauthkeys", self._list_keys),
                web.post("/v1/preauthkeys", self._create_key),
                web.post("/v1/preauthkeys/{key}/revoke", self._revoke_key),
                web.get("/v1/logins", self._list_logins),
                web.post("/v1/logins/{name}/approve", self._approve_login),
                web.post("/v1/logins/{name}/deny", self._deny_login),
                web.get("/v1/nodes", self._list_nodes),
                web.get("/v1/nodes/{name}", self._show_node),
                web.patch("/v1/nodes/{name}", self._rename_node),
                web.delete("/v1/nodes/{name}", self._delete_node),
                web.post("/v1/nodes/{name}/expire", self._expire_node),
                web.put("/v1/nodes/{name}/tags", self._tag_node),
                web.post("/v1/nodes/{name}/ping", self._ping_node),
                web.post("/v1/nodes/{name}/c2n", self._ask_node),
                web.get("/v1/counters", self._counters),
                web.get("/v1/audit", self._list_audit),
                web.get("/v1/apikeys", self._list_api_keys),
                web.post("/v1/apikeys", self._create_api_key),
                web.post("/v1/apikeys/{key}/revoke", self._revoke_api_key),
                web.post("/v1/page", self._page_code),
                web.get("/v1/routes", self._list_routes),
                web.post("/v1/nodes/{name}/routes/approve", self._approve_routes),
                web.post("/v1/nodes/{name}/routes/revoke", self._revoke_routes),
                web.get("/v1/policy", self._get_policy),
                web.put("/v1/policy", self._set_policy),
                web.post("/v1/policy/check", self._check_policy),
                web.get("/v1/policy/history", self._policy_history),
                web.post("/v1/policy/revert", self._revert_policy),
                web.get("/v1/policy/mesh", self._policy_mesh),
            ]
        )
        return app

    async def _counters(self, request: web.Request) -> web.Response:
        _actor(request)
        return _json(self._service.counters.snapshot())

    async def _list_audit(self, request: web.Request) -> web.Response:
        wanted = {name: request.query.get(name, "")[:255] for name in ("who", "action", "target")}
        limit = request.query.get("limit", "100")
        entries = await self._service.audit.list(
            _actor(request), limit=int(limit) if limit.isdecimal() and len(limit) < 9 else 100, **wanted
        )
        return _json([present.audit_json(entry) for entry in entries])

    async def _page_code(self, request: web.Request) -> web.Response:
        code = self._service.page.issue(_actor(request))
        life_s = int(CODE_LIFE.total_seconds())
        return _json({"url": self._service.page.url, "code": code, "life_s": life_s})

    # Users

    async def _list_users(self, request: web.Request) -> web.Response:
        return _json([present.user_json(user) for user in self._service.users.list(_actor(request))])

    async def _create_user(self, request: web.Request) -> web.Response:
        body = await _body(request, NewUser)
        user = await self._service.users.create(
            _actor(request), body.name, email=body.email, display_name=body.display_name, role=body.role
        )
        return _json(present.user_json(user), 201)

    async def _rename_user(self, request: web.Request) -> web.Response:
        body = await _body(request, NewName)
        return _json(present.user_json(await self._service.users.rename(_actor(request), _name(request), body.name)))

    async def _delete_user(self, request: web.Request) -> web.Response:
        return _json(present.user_json(await self._service.users.delete(_actor(request), _name(request))))

    # Pre-auth keys

    async def _list_keys(self, request: web.Request) -> web.Response:
        now, view = self._service.wall_now(), self._service.view()
        keys = await self._service.keys.list(_actor(request))
        return _json([present.key_json(key, view, now) for key in keys])

    async def _create_key(self, request: web.Request) -> web.Response:
        body = await _body(request, NewKey)
        record, text = await self._service.keys.create(
            _actor(request),
            user=body.user,
            tags=body.tags,
            reusable=body.reusable,
            ephemeral=body.ephemeral,
            life=_life(body.life_s),
            description=body.description,
        )
        shown = present.key_json(record, self._service.view(), self._service.wall_now())
        return _json({**shown, "key": text}, 201)

    async def _revoke_key(self, request: web.Request) -> web.Response:
        key = await self._service.keys.revoke(_actor(request), request.match_info["key"])
        return _json(present.key_json(key, self._service.view(), self._service.wall_now()))

    # API keys

    async def _list_api_keys(self, request: web.Request) -> web.Response:
        keys = await self._service.api_keys.list(_actor(request))
        return _json([present.api_key_json(key, self._service.wall_now()) for key in keys])

    async def _create_api_key(self, request: web.Request) -> web.Response:
        body = await _body(request, NewApiKey)
        record, text = await self._service.api_keys.create(
            _actor(request), scopes=body.scopes, life=_life(body.life_s), description=body.description
        )
        return _json({**present.api_key_json(record, self._service.wall_now()), "key": text}, 201)

    async def _revoke_api_key(self, request: web.Request) -> web.Response:
        key = await self._service.api_keys.revoke(_actor(request), request.match_info["key"])
        return _json(present.api_key_json(key, self._service.wall_now()))

    # Logins that wait

    async def _list_logins(self, request: web.Request) -> web.Response:
        return _json([present.pending_json(login) for login in self._service.logins.list(_actor(request))])

    async def _approve_login(self, request: web.Request) -> web.Response:
        body = await _body(request, NewOwner)
        return self._node(await self._service.logins.approve(_actor(request), _name(request), body.user))

    async def _deny_login(self, request: web.Request) -> web.Response:
        return _json(present.pending_json(await self._service.logins.deny(_actor(request), _name(request))))

    # Nodes

    async def _list_nodes(self, request: web.Request) -> web.Response:
        now, view = self._service.wall_now(), self._service.view()
        return _json([present.node_json(node, view, now) for node in self._service.nodes.list(_actor(request))])

    async def _show_node(self, request: web.Request) -> web.Response:
        return self._node(self._service.nodes.show(_actor(request), _name(request)))

    async def _rename_node(self, request: web.Request) -> web.Response:
        body = await _body(request, NewName)
        return self._node(await self._service.nodes.rename(_actor(request), _name(request), body.name))

    async def _delete_node(self, request: web.Request) -> web.Response:
        return self._node(await self._service.nodes.delete(_actor(request), _name(request)))

    async def _expire_node(self, request: web.Request) -> web.Response:
        return self._node(await self._service.nodes.expire(_actor(request), _name(request)))

    async def _tag_node(self, request: web.Request) -> web.Response:
        body = await _body(request, Tags)
        return self._node(await self._service.nodes.tag(_actor(request), _name(request), body.tags))

    async def _ping_node(self, request: web.Request) -> web.Response:
        body = await _body(request, PingWish)
        requests = self._service.requests
        if not body.to:
            return _json({"latency_s": await requests.alive(_actor(request), _name(request))})
        return _json(
            {"answers": await requests.ping_peer(_actor(request), _name(request), body.to, body.kinds or ["disco"])}
        )

    async def _ask_node(self, request: web.Request) -> web.Response:
        body = await _body(request, NodeQuestion)
        answer = await self._service.requests.c2n(
            _actor(request),
            _name(request),
            body.path,
            method=body.method,
            body=body.body.encode(),
            limit_s=body.timeout_s,
        )
        return _json(answer)

    def _node(self, node: Any) -> web.Response:
        return _json(present.node_json(node, self._service.view(), self._service.wall_now()))

    # Routes

    async def _list_routes(self, request: web.Request) -> web.Response:
        states = self._service.routes.list(_actor(request), request.query.get("node"))
        return _json([present.route_json(state) for state in states])

    async def _approve_routes(self, request: web.Request) -> web.Response:
        body = await _body(request, RouteList)
        states = await self._service.routes.approve(_actor(request), _name(request), body.routes)
        return _json([present.route_json(state) for state in states])

    async def _revoke_routes(self, request: web.Request) -> web.Response:
        body = await _body(request, RouteList)
        states = await self._service.routes.revoke(_actor(request), _name(request), body.routes)
        return _json([present.route_json(state) for state in states])

    # Policy

    async def _get_policy(self, request: web.Request) -> web.Response:
        return _json(present.policy_json(self._service.policies.get(_actor(request))))

    async def _set_policy(self, request: web.Request) -> web.Response:
        body = await _body(request, PolicyText)
        record, warnings = await self._service.policies.set(_actor(request), body.text, base_version=body.base_version)
        problems = [present.problem_json(problem) for problem in warnings]
        return _json({**present.policy_json(record), "problems": problems})

    async def _check_policy(self, request: web.Request) -> web.Response:
        body = await _body(request, PolicyText)
        warnings = self._service.policies.check(_actor(request), body.text)
        return _json({"problems": [present.problem_json(problem) for problem in warnings]})

    async def _policy_history(self, request: web.Request) -> web.Response:
        records = await self._service.policies.history(_actor(request))
        return _json([present.policy_json(record) for record in records])

    async def _revert_policy(self, request: web.Request) -> web.Response:
        body = await _body(request, PolicyVersion)
        record, warnings = await self._service.policies.revert(_actor(request), body.version)
        problems = [present.problem_json(problem) for problem in warnings]
        return _json({**present.policy_json(record), "problems": problems})

    async def _policy_mesh(self, request: web.Request) -> web.Response:
        return _json(self._service.policies.mesh(_actor(request)))


@asynccontextmanager
async def _serving(service: ControlService, path: Path) -> AsyncIterator[AdminServer]:
    server = AdminServer(service, path)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


def admin_socket(path: Path) -> Callable[[ControlService], AbstractAsyncContextManager[AdminServer]]:
    """A companion of `control.server.app.serve`: the admin socket as long as the server lives."""
    return lambda service: _serving(service, path)


def _listen(path: Path) -> socket.socket:
    """A listening socket of mode 0600; a socket file that nobody answers on is replaced."""
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if path.is_socket():
            _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        old_mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        except BaseException:
            listener.close()
            raise
        finally:
            os.umask(old_mask)
        listener.listen(64)
        return listener
    except OSError as error:
        mend = "name another place with --socket, or start it by its unit"
        raise StateError(f"cannot make the admin socket {path}: {error.strerror or error}", mend=mend) from error


def _remove_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    mend = "stop it first, or name another place with --socket and --data-dir"
    raise StateError(f"another control server is running on {path}", mend=mend)


def _actor(request: web.Request) -> Actor:
    """Root and the server's own user only, by SO_PEERCRED. Raises `DeniedError`."""
    transport = request.transport
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is not None and sock.family == socket.AF_UNIX:
        _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        if uid in (0, os.geteuid()):
            return local_admin(uid)
    raise DeniedError("this socket serves root and the server's own user only", mend="run the command with sudo")


def _name(request: web.Request) -> str:
    return request.match_info["name"]


def _life(seconds: float | None) -> timedelta | None:
    if seconds is None:
        return None
    try:
        return timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        raise ServiceError("the expiration is too far away", mend="give less, or never") from None


async def _body(request: web.Request, kind: type[B]) -> B:
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except RecursionError:
        raise ServiceError("the request cannot be read: nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ServiceError(f"the request cannot be read: {error}") from None


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        if request.headers.get("Host") != HOST or "Origin" in request.headers:
            raise DeniedError("this socket serves waypost-control only")
        return await handler(request)
    except PolicyError as error:
        problems = [present.problem_json(problem) for problem in error.problems]
        return _json({"code": error.code, "text": error.text, "mend": error.mend, "problems": problems}, 400)
    except ApplianceError as error:
        status = error.status if isinstance(error, ServiceError | DatabaseAwayError) else 500
        if status == 500:
            _log.warning("an admin request failed", path=request.path, error=error.text)
        return _json({"code": error.code, "text": error.text, "mend": error.mend}, status)
    except web.HTTPException as error:
        return _json(
            {"code": "http", "text": f"{request.method} {request.path}: {error.reason}", "mend": ""}, error.status
        )
