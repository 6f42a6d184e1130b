"""`/status`: the read-only page of the server, behind a sign-in by one-time code.

Paths: `/status` the page, `/status/sections` its sections as JSON, `/status/sign-in`, `/status/sign-out`,
`/status/static/`. Every request passes the guard first: own Host, own site.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from appliance.pages.browser import SECURITY_HEADERS, is_cross_site
from appliance.pages.sign_in import TooManyTriesError
from appliance.types.errors import ApplianceError
from control.server.routes import PlainRequest, PlainResponse, Routes
from control.service.page_access import SESSION_LIFE
from control.web import render
from control.web.guard import is_own_host
from control.web.overview import overview

if TYPE_CHECKING:
    from appliance.proto.http1.head import Headers
    from control.service.service import ControlService

PATH = "/status"
SIGN_IN = f"{PATH}/sign-in"
STATIC = f"{PATH}/static/"
COOKIE = "waypost_control_page"
HEADERS = tuple(SECURITY_HEADERS.items())
SCHEMES = ("http", "https")
"""A proxy in front of the server may end TLS."""
HTML = "text/html; charset=utf-8"
MAX_FORM_BYTES = 1024

Handler = Callable[[PlainRequest, str], Awaitable[PlainResponse]]
"""Takes the request and the caller's session token, "" without a living one."""


class StatusPage:
    """Serves one service. `names`: host names of this server in lower case; addresses are known by themselves."""

    def __init__(self, service: ControlService, names: frozenset[str]) -> None:
        self._service = service
        self._access = service.page
        self._names = names
        self._secure = service.page.url.startswith("https://")

    def add_to(self, routes: Routes) -> None:
        guarded = self._guarded
        routes.plain[("GET", PATH)] = guarded(self._page, open_to_all=True)
        routes.plain[("GET", f"{PATH}/sections")] = guarded(self._sections)
        routes.plain[("GET", SIGN_IN)] = guarded(self._form, open_to_all=True)
        routes.plain[("POST", SIGN_IN)] = guarded(self._redeem, open_to_all=True)
        routes.plain[("POST", f"{PATH}/sign-out")] = guarded(self._sign_out)
        routes.prefixes[("GET", STATIC)] = guarded(self._asset, open_to_all=True)

    # --- the guard

    def _guarded(
        self, handler: Handler, *, open_to_all: bool = False
    ) -> Callable[[PlainRequest], Awaitable[PlainResponse]]:
        async def answer(request: PlainRequest) -> PlainResponse:
            refusal = self._refusal(request)
            if refusal is not None:
                return refusal
            token = _token(request)
            known = token if self._access.is_valid(token) else ""
            if not known and not open_to_all:
                return PlainResponse(401, b"sign in first\n", headers=HEADERS)
            return await handler(request, known)

        return answer

    def _refusal(self, request: PlainRequest) -> PlainResponse | None:
        head = request.head
        host, method = head.header("host"), head.method
        if not is_own_host(host, self._names):
            return self._refuse("This server is not called like that.", 421)
        if is_cross_site(method, head.header("sec-fetch-site"), head.header("origin"), host or "", SCHEMES):
            return self._refuse("Another site asked for this page.", 403)
        return None

    def _refuse(self, text: str, status: int) -> PlainResponse:
        self._access.refused_requests += 1
        return _html(render.refusal(text, "Open the page by the address that “waypost-control page” prints."), status)

    # --- the page

    async def _page(self, _request: PlainRequest, token: str) -> PlainResponse:
        return _html(render.page(overview(self._service))) if token else _see(SIGN_IN)

    async def _sections(self, _request: PlainRequest, _token: str) -> PlainResponse:
        body = json.dumps(render.sections(overview(self._service))).encode()
        return PlainResponse(200, body, "application/json", HEADERS)

    async def _asset(self, request: PlainRequest, _token: str) -> PlainResponse:
        name = request.head.path.removeprefix(STATIC)
        found = render.static().get(name)
        if found is None:
            return _html(render.refusal("There is no such file.", ""), 404)
        content, kind = found
        return PlainResponse(200, content, f"{kind}; charset=utf-8", HEADERS)

    # --- signing in

    async def _form(self, _request: PlainRequest, token: str) -> PlainResponse:
        return _see(PATH) if token else _html(render.sign_in())

    async def _redeem(self, request: PlainRequest, _token: str) -> PlainResponse:
        try:
            token = self._access.redeem(_field(request.body, "code"), request.remote_ip)
        except TooManyTriesError as error:
            return _html(render.sign_in(_sentences(error)), 429, ("Retry-After", str(error.wait_s)))
        except ApplianceError as error:
            return _html(render.sign_in(_sentences(error)), 403)
        return _see(PATH, self._cookie(token, int(SESSION_LIFE.total_seconds())))

    async def _sign_out(self, _request: PlainRequest, token: str) -> PlainResponse:
        self._access.end(token)
        return _see(SIGN_IN, self._cookie("", 0))

    def _cookie(self, token: str, life_s: int) -> tuple[str, str]:
        secure = "; Secure" if self._secure else ""
        text = f"{COOKIE}={token}; Path={PATH}; Max-Age={life_s}; HttpOnly; SameSite=Strict{secure}"
        return ("Set-Cookie", text)


def add_status_page(routes: Routes, service: ControlService, host: str) -> None:
    """Register the page. `host` is the public name of this server."""
    url = urlsplit(service.page.url).hostname or ""
    names = frozenset(name.lower().rstrip(".") for name in (url, host) if name)
    StatusPage(service, names).add_to(routes)
    service.counters.add("page", lambda: service.page.counters)


def _field(body: bytes, name: str) -> str:
    """A field of a submitted form, "" where there is none."""
    try:
        return parse_qs(body[:MAX_FORM_BYTES].decode("latin-1"), max_num_fields=8).get(name, [""])[0]
    except ValueError:
        return ""


def _token(request: PlainRequest) -> str:
    """The session cookie's value."""
    try:
        cookie = SimpleCookie(request.head.header("cookie") or "").get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie is not None else ""


def _html(text: str, status: int = 200, *headers: tuple[str, str]) -> PlainResponse:
    return PlainResponse(status, text.encode(), HTML, (*HEADERS, *headers))


def _see(place: str, *headers: tuple[str, str]) -> PlainResponse:
    more: Headers = (("Location", place), *headers)
    return PlainResponse(303, b"", HTML, (*HEADERS, *more))


def _sentences(error: ApplianceError) -> str:
    return ". ".join(part[:1].upper() + part[1:] for part in (error.text, error.mend) if part) + "."
