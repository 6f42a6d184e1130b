"""Plain endpoints of the front listener: the server's key, DERP admission for other relays, a page for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from appliance.proto.control.upgrade import KEY_PATH
from appliance.types.errors import DecodeError
from appliance.types.keys import NodePublicKey
from control.server.routes import PlainRequest, PlainResponse, Routes

if TYPE_CHECKING:
    from control.noise.upgrade import NoiseUpgrade
    from control.service.id_tokens import IdTokens
    from control.service.interface import NodeFacing

MAX_VERIFY_BODY = 4096
_PAGE = b"This is a Waypost control server. Join it with: waypost up --control-url <this address>\n"


class _VerifyRequest(msgspec.Struct):
    node_public: str = msgspec.field(name="NodePublic")
    source: str = msgspec.field(name="Source", default="")


def add_plain_routes(routes: Routes, noise: NoiseUpgrade, service: NodeFacing) -> None:
    """Register `/key`, `/verify`, `/health` and `/`."""

    async def key(request: PlainRequest) -> PlainResponse:
        body = noise.key_response(request.head.query("v"))
        if body is None:
            return PlainResponse(400, b"the query needs v=<capability version>\n")
        return PlainResponse(200, body, "application/json")

    async def verify(request: PlainRequest) -> PlainResponse:
        """Whether a node may use a relay (derp spec 3.6)."""
        try:
            if len(request.body) > MAX_VERIFY_BODY:
                raise ValueError("request body is too large")
            wanted = NodePublicKey.parse(msgspec.json.decode(request.body, type=_VerifyRequest).node_public)
        except (DecodeError, msgspec.MsgspecError, RecursionError, ValueError):
            return PlainResponse(400, b"bad request\n")
        allowed = service.is_known(wanted)
        return PlainResponse(200, b'{"Allow":true}' if allowed else b'{"Allow":false}', "application/json")

    async def health(request: PlainRequest) -> PlainResponse:
        return PlainResponse(200, b'{"status":"pass"}', "application/json")

    async def page(request: PlainRequest) -> PlainResponse:
        return PlainResponse(200, _PAGE)

    routes.plain[("GET", KEY_PATH)] = key
    routes.plain[("POST", "/verify")] = verify
    routes.plain[("GET", "/health")] = health
    routes.plain[("GET", "/")] = page


def add_token_routes(routes: Routes, tokens: IdTokens) -> None:
    """What third parties need to check nodes' identity tokens; nothing where none are issued."""
    if not tokens.enabled:
        return

    async def discovery(request: PlainRequest) -> PlainResponse:
        return PlainResponse(200, msgspec.json.encode(tokens.discovery()), "application/json")

    async def key_set(request: PlainRequest) -> PlainResponse:
        return PlainResponse(200, msgspec.json.encode(tokens.key_set()), "application/json")

    routes.plain[("GET", "/.well-known/openid-configuration")] = discovery
    routes.plain[("GET", "/.well-known/jwks.json")] = key_set
