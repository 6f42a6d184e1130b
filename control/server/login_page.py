"""`/register/<id>`, the page behind an AuthURL, and `/auth/<id>`, the one behind an SSH login that needs a check.

They say which command lets the device or the login in; they change nothing.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, TypeVar

from control.server.routes import PlainRequest, PlainResponse, Routes
from control.service.pending import ID_BYTES
from control.service.registration import REGISTER_PATH
from control.service.ssh_checks import AUTH_PATH

if TYPE_CHECKING:
    from collections.abc import Callable

    from control.service.logins import LoginOperations
    from control.service.pending import PendingLogin
    from control.service.ssh_checks import SshCheck, SshChecks

_T = TypeVar("_T")
_ID = re.compile(f"[0-9a-f]{{{2 * ID_BYTES}}}")
HTML = "text/html; charset=utf-8"
HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color:#1b1b1b;"
    "background:#fff}pre{padding:1rem;overflow-x:auto;background:#eee;border-radius:.3rem}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}pre{background:#2a2a2a}}"
)


def add_login_page(routes: Routes, logins: LoginOperations) -> None:
    """Register the page."""
    _add(routes, REGISTER_PATH, logins.waiting, _waiting)


def add_check_page(routes: Routes, checks: SshChecks) -> None:
    """Register the page of SSH logins."""
    _add(routes, AUTH_PATH, checks.waiting, _login_waits)


def _add(routes: Routes, path: str, waiting: Callable[[str], _T | None], shown: Callable[[_T], str]) -> None:
    """Below `path` the page of what waits under the id that follows."""

    async def page(request: PlainRequest) -> PlainResponse:
        given = request.head.path.removeprefix(path)
        found = waiting(given) if _ID.fullmatch(given) else None
        if found is None:
            return PlainResponse(404, _nothing().encode(), HTML, HEADERS)
        return PlainResponse(200, shown(found).encode(), HTML, HEADERS)

    routes.prefixes[("GET", path)] = page


def _login_waits(check: SshCheck) -> str:
    return _document(
        "An SSH login needs a check",
        f"<p>Somebody wants to log in as <strong>{escape(check.login)}</strong> from node {check.source} to node "
        f"{check.target}. If it is you, let an administrator run this on the control server within 15 minutes:</p>"
        f"<pre><code>waypost-control ssh approve {check.id}</code></pre>"
        "<p>The login goes on by itself. If it is not you, deny it: "
        f"<code>waypost-control ssh deny {check.id}</code></p>",
    )


def _waiting(login: PendingLogin) -> str:
    name = escape(login.hostinfo.hostname[:64] or "without a name")
    return _document(
        "A device wants to join",
        f"<p>The device <strong>{name}</strong> (machine key {escape(login.machine_key.short)}, from "
        f"{escape(login.remote_ip)}) waits for an administrator. If it is yours, let it in on the control server "
        f"within 15 minutes:</p><pre><code>waypost-control nodes register {login.id} --user NAME</code></pre>"
        "<p>The device notices by itself; nothing else is to be done here.</p>",
    )


def _nothing() -> str:
    return _document(
        "Nobody waits here",
        "<p>This login is finished, or too old. If the device still waits, it shows a new address.</p>",
    )


def _document(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><main><h1>{title}</h1>{body}</main></body></html>\n"
    )
