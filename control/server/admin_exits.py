"""Admin socket: which exit a gateway uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from control.server.admin_http import actor_of, json_reply, path_name, read_body
from control.service import present
from control.service.exits import ExitWish

if TYPE_CHECKING:
    from control.service.service import ControlService


class NewExit(msgspec.Struct, forbid_unknown_fields=True):
    """null = as the gateway has it."""

    use: str
    site: bool | None = None
    gateway_direct: bool | None = None
    lan_access: bool | None = None
    regions: list[str] | None = None
    confirm_within_s: float = 60.0


def exit_routes(service: ControlService) -> list[web.RouteDef]:
    async def show(request: web.Request) -> web.Response:
        return json_reply(present.exit_json(service.exits.show(actor_of(request), path_name(request))))

    async def switch(request: web.Request) -> web.Response:
        body = await read_body(request, NewExit)
        regions = None if body.regions is None else tuple(body.regions)
        who = body.site, body.gateway_direct
        wish = ExitWish(body.use, *who, body.lan_access, regions, body.confirm_within_s)
        before = await service.exits.switch(actor_of(request), path_name(request), wish)
        return json_reply(
            {"before": present.exit_json(before), "use": body.use, "confirm_within_s": wish.confirm_within_s}
        )

    return [web.get("/v1/nodes/{name}/exit", show), web.put("/v1/nodes/{name}/exit", switch)]
