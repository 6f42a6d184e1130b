"""What the peer API answers by itself: who we are to each other, and the numbers for those who may debug."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from appliance.peerapi.routes import PeerRequest, PeerRoutes
from appliance.peerapi.server import text


def add_pages(routes: PeerRoutes, *, version: str, metrics: Callable[[], str]) -> None:
    """Register `/` and `/v0/metrics`. `metrics` gives them in Prometheus' text form."""

    async def home(request: PeerRequest) -> web.Response:
        caller = request.caller
        owner = caller.login or ", ".join(caller.node.tags) or "nobody"
        return text(
            200,
            f"This is {caller.own.name.rstrip('.')}, a Waypost {version} gateway.\n"
            f"You are {caller.node.name.rstrip('.')} of {owner}, from {caller.source}.",
        )

    async def show_metrics(request: PeerRequest) -> web.Response:
        if not request.caller.may_debug():
            return text(403, "denied: the policy grants no debug access")
        if request.http.method not in ("GET", "HEAD"):
            return text(405, "use GET")
        return web.Response(text=metrics(), content_type="text/plain", charset="utf-8")

    routes.add("/", home)
    routes.add("/v0/metrics", show_metrics)
