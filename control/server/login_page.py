"""`/register/<id>`: the page behind an AuthURL. It says which command lets the device in; it changes nothing."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from control.server.routes import PlainRequest, PlainResponse, Routes
from control.service.pending import ID_BYTES
from control.service.registration import REGISTER_PATH

if TYPE_CHECKING:
    from control.service.logins import LoginOperations
    from control.service.pending import PendingLogin

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

    async def page(request: PlainRequest) -> PlainResponse:
        login_id = request.head.path.removeprefix(REGISTER_PATH)
        login = logins.waiting(login_id) if _ID.fullmatch(login_id) else None
        if login is None:
            return PlainResponse(404, _nothing().encode(), HTML, HEADERS)
        return PlainResponse(200, _waiting(login).encode(), HTML, HEADERS)

    routes.prefixes[("GET", REGISTER_PATH)] = page


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
        "No device waits here",
        "<p>This login is finished, or too old. If the device still waits, it shows a new address.</p>",
    )


def _document(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><main><h1>{title}</h1>{body}</main></body></html>\n"
    )
