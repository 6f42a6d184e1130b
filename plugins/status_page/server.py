"""The web server of the page. Every request passes the same guard: own Host, own site, then a session.

Paths: `/` the page, `/events` its live sections, `/session` whether the session lives, `/sign-in`, `/sign-out`,
`/act` (a panel's button), `/settings` (a panel's form), `/switch` (a plugin on or off), `/confirm` (settings on trial
stay), `/static/`. No path changes anything by GET.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

from appliance.pages.assets import static_files
from appliance.pages.browser import SECURITY_HEADERS, is_cross_site
from appliance.pages.sign_in import TOKEN_BYTES, SignIn, TooManyTriesError
from appliance.types.errors import ApplianceError
from plugins.status_page.connections import Doorkeeper
from plugins.status_page.errors import RefusedRequestError
from plugins.status_page.live import LiveFrame, changed_sections
from plugins.status_page.malformed import MalformedRequests
from plugins.status_page.render import FOLDER, Frame, Renderer, Shown, node_title
from plugins.status_page.rules import is_own_host
from plugins.status_page.settings_pages import SettingsPages
from plugins.status_page.words import sentence

COOKIE = "waypost_page"
MAX_BODY_BYTES = 4096
HEARTBEAT_S = 15.0
WRITE_TIMEOUT_S = 20.0
BUSY_RETRY_S = 10
_OPEN_PATHS = ("/sign-in", "/static/")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PageServer:
    """`look` gives what is to be shown now; `act` presses a panel's button, `confirm` keeps what is on trial; `random`
    makes secret bytes.

    `hosts` are the names and addresses under which the page may be opened; the owner keeps them current.
    """

    def __init__(
        self,
        sign_in: SignIn,
        renderer: Renderer,
        live: LiveFrame,
        settings: SettingsPages,
        *,
        look: Callable[[], Awaitable[Shown]],
        act: Callable[[str, str], Awaitable[None]],
        confirm: Callable[[], Awaitable[None]],
        now: Callable[[], float],
        random: Callable[[int], bytes],
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._sign_in = sign_in
        self._renderer = renderer
        self._live = live
        self._settings = settings
        self._look = look
        self._act = act
        self._confirm = confirm
        self._now = now
        self._random = random
        self._heartbeat_s = heartbeat_s
        self._static = static_files(FOLDER)
        self._runner: web.AppRunner | None = None
        self.hosts: frozenset[str] = frozenset()
        self.door: Doorkeeper | None = None
        self.refused = 0
        """Requests refused for their Host or site."""
        self.malformed = MalformedRequests()

    async def start(self) -> Doorkeeper:
        """Give the doorkeeper, which wants listeners."""
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY_BYTES)
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/events", self._events),
                web.get("/session", self._session),
                web.get("/sign-in", self._sign_in_form),
                web.post("/sign-in", self._redeem),
                web.post("/sign-out", self._sign_out),
                web.post("/act", self._press),
                web.post("/confirm", self._keep),
                web.get("/settings", self._settings.show),
                web.post("/settings", self._settings.save),
                web.post("/switch", self._settings.switch),
                web.get("/static/{name}", self._asset),
            ]
        )
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=0.5,
            keepalive_timeout=30.0,
            handler_cancellation=True,
            logger=self.malformed.logger,
        )
        await self._runner.setup()
        server = self._runner.server
        assert server is not None, "setup makes it"
        self.door = Doorkeeper(server)
        return self.door

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- the guard

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.door is not None:
            self.door.has_asked(request.protocol)
        try:
            self._check(request)
            response = await self._with_session(request, handler)
        except RefusedRequestError as error:
            self.refused += 1
            response = self._html(self._renderer.refusal(*_parts(error)), error.status)
        except web.HTTPException as error:
            response = self._html(self._renderer.refusal(error.reason, ""), error.status)
        except ApplianceError as error:
            response = self._html(self._renderer.refusal(*_parts(error)), 409)
        if not response.prepared:
            response.headers.update(SECURITY_HEADERS)
        return response

    def _check(self, request: web.Request) -> None:
        """Raises `RefusedRequestError`."""
        headers, port = request.headers, _own_port(request)
        if not is_own_host(headers.get("Host"), self.hosts, port):
            raise RefusedRequestError("this gateway is not called like that", 421)
        fetch_site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
        if is_cross_site(request.method, fetch_site, origin, headers["Host"]):
            raise RefusedRequestError("another site asked for this page", 403)

    async def _with_session(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._has_session(request) or request.path.startswith(_OPEN_PATHS):
            return await handler(request)
        if request.method == "GET" and request.path == "/":
            return _see("/sign-in")
        return web.Response(status=401, text="sign in first\n")

    def _has_session(self, request: web.Request) -> bool:
        return self._sign_in.is_valid(request.cookies.get(COOKIE, ""), self._now())

    # --- signing in

    async def _sign_in_form(self, request: web.Request) -> web.Response:
        return _see("/") if self._has_session(request) else self._html(self._renderer.sign_in())

    async def _redeem(self, request: web.Request) -> web.Response:
        code = (await request.post()).get("code", "")
        try:
            given = code if isinstance(code, str) else ""
            token = self._sign_in.redeem(given, request.remote or "", self._random(TOKEN_BYTES), self._now())
        except ApplianceError as error:
            busy = isinstance(error, TooManyTriesError)
            response = self._html(self._renderer.sign_in(_sentences(error)), 429 if busy else 403)
            if isinstance(error, TooManyTriesError):
                response.headers["Retry-After"] = str(error.wait_s)
            return response
        response = _see("/")
        life = int(self._sign_in.session_life_s)
        response.set_cookie(COOKIE, token, max_age=life, httponly=True, samesite="Strict", path="/")
        return response

    async def _sign_out(self, request: web.Request) -> web.Response:
        self._sign_in.end(request.cookies.get(COOKIE, ""))
        response = _see("/sign-in")
        response.del_cookie(COOKIE, path="/")
        return response

    # --- the page

    async def _page(self, _request: web.Request) -> web.Response:
        shown = await self._look()
        frame = self._renderer.frame(shown)
        self._live.publish(frame)
        return self._html(self._renderer.page(frame, node_title(shown.status), shown.at))

    async def _press(self, request: web.Request) -> web.Response:
        form = await request.post()
        await self._act(str(form.get("plugin", "")), str(form.get("label", "")))
        return _see("/")

    async def _keep(self, _request: web.Request) -> web.Response:
        await self._confirm()
        return _see("/")

    async def _session(self, _request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._static:
            raise web.HTTPNotFound
        content, kind = self._static[name]
        return web.Response(body=content, content_type=kind, charset="utf-8")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._live.is_full:
            headers = {"Retry-After": str(BUSY_RETRY_S)}
            return web.Response(status=503, text="too many pages are open\n", headers=headers)
        response = web.StreamResponse(headers={**SECURITY_HEADERS, "Content-Type": "text/event-stream"})
        with self._live.watching(), suppress(ConnectionError, TimeoutError):  # the reader went away or sleeps
            await response.prepare(request)
            await self._send_sections(request, response)
        return response

    async def _send_sections(self, request: web.Request, response: web.StreamResponse) -> None:
        """Changed sections, or a heartbeat in silence, until the session ends."""
        sent: Frame = {}
        number = 0
        piece = b"retry: 3000\n\n"
        while self._has_session(request):
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await response.write(piece)
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    number = await self._live.newer(number)
            except TimeoutError:
                piece = b": still here\n\n"
                continue
            frame = self._live.frame
            piece = f"event: sections\ndata: {json.dumps(changed_sections(sent, frame))}\n\n".encode()
            sent = frame

    def _html(self, text: str, status: int = 200) -> web.Response:
        return web.Response(text=text, status=status, content_type="text/html")


def _parts(error: ApplianceError) -> tuple[str, str]:
    """What is wrong and the mend, as a page shows them."""
    return sentence(error.text), sentence(error.mend)


def _sentences(error: ApplianceError) -> str:
    return ". ".join(sentence(part) for part in (error.text, error.mend) if part) + "."


def _see(place: str) -> web.Response:
    return web.Response(status=303, headers={"Location": place})


def _own_port(request: web.Request) -> int:
    name = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return int(name[1]) if name else 0
