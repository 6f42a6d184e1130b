"""Admin socket: roles of users; attributes, expiry and addresses of nodes; SSH logins that need a check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from control.server.admin_http import actor_of, json_reply, life_of, path_name, read_body
from control.service import present
from control.state.records import Role

if TYPE_CHECKING:
    from control.service.service import ControlService
    from control.state.records import NodeRecord


class NewRole(msgspec.Struct, forbid_unknown_fields=True):
    role: Role


class NewAttributes(msgspec.Struct, forbid_unknown_fields=True):
    """`life_s` null = no expiry."""

    values: dict[str, str | int | float | bool]
    life_s: float | None = None


class AttributeNames(msgspec.Struct, forbid_unknown_fields=True):
    names: list[str]


class NewExpiry(msgspec.Struct, forbid_unknown_fields=True):
    """`life_s` null = never."""

    life_s: float | None


class NewAddress(msgspec.Struct, forbid_unknown_fields=True):
    address: str


class AccessHandlers:
    def __init__(self, service: ControlService) -> None:
        self._service = service

    async def show_user(self, request: web.Request) -> web.Response:
        return json_reply(present.user_json(self._service.users.show(actor_of(request), path_name(request))))

    async def set_role(self, request: web.Request) -> web.Response:
        body = await read_body(request, NewRole)
        user = await self._service.users.set_role(actor_of(request), path_name(request), body.role)
        return json_reply(present.user_json(user))

    async def set_attributes(self, request: web.Request) -> web.Response:
        body = await read_body(request, NewAttributes)
        return self._node(
            await self._service.attributes.set(
                actor_of(request), path_name(request), body.values, life=life_of(body.life_s)
            )
        )

    async def remove_attributes(self, request: web.Request) -> web.Response:
        body = await read_body(request, AttributeNames)
        return self._node(await self._service.attributes.remove(actor_of(request), path_name(request), body.names))

    async def set_expiry(self, request: web.Request) -> web.Response:
        body = await read_body(request, NewExpiry)
        return self._node(
            await self._service.nodes.set_expiry(actor_of(request), path_name(request), life_of(body.life_s))
        )

    async def set_address(self, request: web.Request) -> web.Response:
        body = await read_body(request, NewAddress)
        return self._node(await self._service.nodes.set_address(actor_of(request), path_name(request), body.address))

    async def list_checks(self, request: web.Request) -> web.Response:
        view = self._service.view()
        return json_reply([present.check_json(one, view) for one in self._service.ssh_checks.list(actor_of(request))])

    async def approve_check(self, request: web.Request) -> web.Response:
        check = await self._service.ssh_checks.approve(actor_of(request), path_name(request))
        return json_reply(present.check_json(check, self._service.view()))

    async def deny_check(self, request: web.Request) -> web.Response:
        check = await self._service.ssh_checks.deny(actor_of(request), path_name(request))
        return json_reply(present.check_json(check, self._service.view()))

    def _node(self, node: NodeRecord) -> web.Response:
        return json_reply(present.node_json(node, self._service.view(), self._service.wall_now()))


def access_routes(service: ControlService) -> list[web.RouteDef]:
    handlers = AccessHandlers(service)
    return [
        web.get("/v1/users/{name}", handlers.show_user),
        web.put("/v1/users/{name}/role", handlers.set_role),
        web.put("/v1/nodes/{name}/attributes", handlers.set_attributes),
        web.post("/v1/nodes/{name}/attributes/remove", handlers.remove_attributes),
        web.put("/v1/nodes/{name}/expiry", handlers.set_expiry),
        web.put("/v1/nodes/{name}/address", handlers.set_address),
        web.get("/v1/ssh/checks", handlers.list_checks),
        web.post("/v1/ssh/checks/{name}/approve", handlers.approve_check),
        web.post("/v1/ssh/checks/{name}/deny", handlers.deny_check),
    ]
