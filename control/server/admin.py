"""The admin socket: `/v1` as JSON over HTTP on a Unix socket, for root and the server's own user.

Each handler reads a request, calls one operation of `control.service` and shows its result; rules, authorisation and
audit are in there. An error is `{"code", "text", "mend"}`, with `problems` for a policy.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from control.server.admin_access import access_routes
from control.server.admin_exits import exit_routes
from control.server.admin_http import (
    MAX_BODY_BYTES,
    actor_of,
    errors_as_json,
    json_reply,
    life_of,
    listen,
    path_name,
    read_body,
)
from control.service import present
from control.service.page_access import CODE_LIFE
from control.state.records import Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from control.service.service import ControlService


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
    user: str | None = None


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


class AdminServer:
    """Serves one `ControlService` at `path`; `start` it, then `close` it."""

    def __init__(self, service: ControlService, path: Path) -> None:
        self._service = service
        self._path = path
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises `StateError` if the socket cannot be made or another server answers on it."""
        listener = listen(self._path)
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
        app = web.Application(middlewares=[errors_as_json], client_max_size=MAX_BODY_BYTES)
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
                *access_routes(self._service),
                *exit_routes(self._service),
            ]
        )
        return app

    async def _counters(self, request: web.Request) -> web.Response:
        actor_of(request)
        return json_reply(self._service.counters.snapshot())

    async def _list_audit(self, request: web.Request) -> web.Response:
        wanted = {name: request.query.get(name, "")[:255] for name in ("who", "action", "target")}
        limit = request.query.get("limit", "100")
        entries = await self._service.audit.list(
            actor_of(request), limit=int(limit) if limit.isdecimal() and len(limit) < 9 else 100, **wanted
        )
        return json_reply([present.audit_json(entry) for entry in entries])

    async def _page_code(self, request: web.Request) -> web.Response:
        code = self._service.page.issue(actor_of(request))
        life_s = int(CODE_LIFE.total_seconds())
        return json_reply({"url": self._service.page.url, "code": code, "life_s": life_s})

    # Users

    async def _list_users(self, request: web.Request) -> web.Response:
        return json_reply([present.user_json(user) for user in self._service.users.list(actor_of(request))])

    async def _create_user(self, request: web.Request) -> web.Response:
        body = await read_body(request, NewUser)
        user = await self._service.users.create(
            actor_of(request), body.name, email=body.email, display_name=body.display_name, role=body.role
        )
        return json_reply(present.user_json(user), 201)

    async def _rename_user(self, request: web.Request) -> web.Response:
        body = await read_body(request, NewName)
        return json_reply(
            present.user_json(await self._service.users.rename(actor_of(request), path_name(request), body.name))
        )

    async def _delete_user(self, request: web.Request) -> web.Response:
        return json_reply(present.user_json(await self._service.users.delete(actor_of(request), path_name(request))))

    # Pre-auth keys

    async def _list_keys(self, request: web.Request) -> web.Response:
        now, view = self._service.wall_now(), self._service.view()
        keys = await self._service.keys.list(actor_of(request))
        return json_reply([present.key_json(key, view, now) for key in keys])

    async def _create_key(self, request: web.Request) -> web.Response:
        body = await read_body(request, NewKey)
        record, text = await self._service.keys.create(
            actor_of(request),
            user=body.user,
            tags=body.tags,
            reusable=body.reusable,
            ephemeral=body.ephemeral,
            life=life_of(body.life_s),
            description=body.description,
        )
        shown = present.key_json(record, self._service.view(), self._service.wall_now())
        return json_reply({**shown, "key": text}, 201)

    async def _revoke_key(self, request: web.Request) -> web.Response:
        key = await self._service.keys.revoke(actor_of(request), request.match_info["key"])
        return json_reply(present.key_json(key, self._service.view(), self._service.wall_now()))

    # API keys

    async def _list_api_keys(self, request: web.Request) -> web.Response:
        keys = await self._service.api_keys.list(actor_of(request))
        return json_reply([present.api_key_json(key, self._service.wall_now()) for key in keys])

    async def _create_api_key(self, request: web.Request) -> web.Response:
        body = await read_body(request, NewApiKey)
        record, text = await self._service.api_keys.create(
            actor_of(request),
            scopes=body.scopes,
            life=life_of(body.life_s),
            description=body.description,
            user=body.user,
        )
        return json_reply({**present.api_key_json(record, self._service.wall_now()), "key": text}, 201)

    async def _revoke_api_key(self, request: web.Request) -> web.Response:
        key = await self._service.api_keys.revoke(actor_of(request), request.match_info["key"])
        return json_reply(present.api_key_json(key, self._service.wall_now()))

    # Logins that wait

    async def _list_logins(self, request: web.Request) -> web.Response:
        return json_reply([present.pending_json(login) for login in self._service.logins.list(actor_of(request))])

    async def _approve_login(self, request: web.Request) -> web.Response:
        body = await read_body(request, NewOwner)
        return self._node(await self._service.logins.approve(actor_of(request), path_name(request), body.user))

    async def _deny_login(self, request: web.Request) -> web.Response:
        return json_reply(present.pending_json(await self._service.logins.deny(actor_of(request), path_name(request))))

    # Nodes

    async def _list_nodes(self, request: web.Request) -> web.Response:
        now, view = self._service.wall_now(), self._service.view()
        return json_reply([present.node_json(node, view, now) for node in self._service.nodes.list(actor_of(request))])

    async def _show_node(self, request: web.Request) -> web.Response:
        return self._node(self._service.nodes.show(actor_of(request), path_name(request)))

    async def _rename_node(self, request: web.Request) -> web.Response:
        body = await read_body(request, NewName)
        return self._node(await self._service.nodes.rename(actor_of(request), path_name(request), body.name))

    async def _delete_node(self, request: web.Request) -> web.Response:
        return self._node(await self._service.nodes.delete(actor_of(request), path_name(request)))

    async def _expire_node(self, request: web.Request) -> web.Response:
        return self._node(await self._service.nodes.expire(actor_of(request), path_name(request)))

    async def _tag_node(self, request: web.Request) -> web.Response:
        body = await read_body(request, Tags)
        return self._node(await self._service.nodes.tag(actor_of(request), path_name(request), body.tags))

    async def _ping_node(self, request: web.Request) -> web.Response:
        body = await read_body(request, PingWish)
        requests = self._service.requests
        if not body.to:
            return json_reply({"latency_s": await requests.alive(actor_of(request), path_name(request))})
        return json_reply(
            {
                "answers": await requests.ping_peer(
                    actor_of(request), path_name(request), body.to, body.kinds or ["disco"]
                )
            }
        )

    async def _ask_node(self, request: web.Request) -> web.Response:
        body = await read_body(request, NodeQuestion)
        answer = await self._service.requests.c2n(
            actor_of(request),
            path_name(request),
            body.path,
            method=body.method,
            body=body.body.encode(),
            limit_s=body.timeout_s,
        )
        return json_reply(answer)

    def _node(self, node: Any) -> web.Response:
        return json_reply(present.node_json(node, self._service.view(), self._service.wall_now()))

    # Routes

    async def _list_routes(self, request: web.Request) -> web.Response:
        states = self._service.routes.list(actor_of(request), request.query.get("node"))
        return json_reply([present.route_json(state) for state in states])

    async def _approve_routes(self, request: web.Request) -> web.Response:
        body = await read_body(request, RouteList)
        states = await self._service.routes.approve(actor_of(request), path_name(request), body.routes)
        return json_reply([present.route_json(state) for state in states])

    async def _revoke_routes(self, request: web.Request) -> web.Response:
        body = await read_body(request, RouteList)
        states = await self._service.routes.revoke(actor_of(request), path_name(request), body.routes)
        return json_reply([present.route_json(state) for state in states])

    # Policy

    async def _get_policy(self, request: web.Request) -> web.Response:
        return json_reply(present.policy_json(self._service.policies.get(actor_of(request))))

    async def _set_policy(self, request: web.Request) -> web.Response:
        body = await read_body(request, PolicyText)
        record, warnings = await self._service.policies.set(
            actor_of(request), body.text, base_version=body.base_version
        )
        problems = [present.problem_json(problem) for problem in warnings]
        return json_reply({**present.policy_json(record), "problems": problems})

    async def _check_policy(self, request: web.Request) -> web.Response:
        body = await read_body(request, PolicyText)
        warnings = self._service.policies.check(actor_of(request), body.text)
        return json_reply({"problems": [present.problem_json(problem) for problem in warnings]})

    async def _policy_history(self, request: web.Request) -> web.Response:
        records = await self._service.policies.history(actor_of(request))
        return json_reply([present.policy_json(record) for record in records])

    async def _revert_policy(self, request: web.Request) -> web.Response:
        body = await read_body(request, PolicyVersion)
        record, warnings = await self._service.policies.revert(actor_of(request), body.version)
        problems = [present.problem_json(problem) for problem in warnings]
        return json_reply({**present.policy_json(record), "problems": problems})

    async def _policy_mesh(self, request: web.Request) -> web.Response:
        return json_reply(self._service.policies.mesh(actor_of(request)))


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
