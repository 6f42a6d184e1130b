"""`/v0/wol`: a peer has a host of this site woken (apps spec 1.4), and the other half: asking a peer to.

Who may: a node of the same user, or one to which the policy grants the capability `wake-on-lan` toward this node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlencode

from aiohttp import web

from appliance.peerapi.routes import PeerRequest, PeerRoutes
from appliance.peerapi.server import text
from appliance.ports.streams import StreamDialer
from appliance.proto.http1.head import encode_request_head, parse_response_head
from appliance.proto.wake_on_lan import MAX_ANSWER, encode_answer, parse_answer
from appliance.types.addresses import AddrPort
from appliance.types.errors import ApplianceError, DecodeError
from appliance.types.wake import WakeReport

PATH = "/v0/wol"
CAP_WAKE = "https://tailscale.com/cap/wake-on-lan"
MAX_FORM = 1024
MAX_FIELDS = 8
TIMEOUT_S = 10.0

Wake = Callable[[str, str], WakeReport]
"""`wake(mac, interface)`. Raises `ApplianceError`."""


class WakeRefusedError(ApplianceError):
    """The other gateway does not wake anybody for us, or does not answer."""

    code = "wake"


def add_wake(routes: PeerRoutes, wake: Wake) -> None:
    """The form has `mac`, and may have `interface` (ours)."""

    async def answer(request: PeerRequest) -> web.StreamResponse:
        if not (request.caller.is_self or CAP_WAKE in request.caller.capabilities()):
            return text(403, "no WoL access")
        if request.http.method != "POST":
            return text(405, "use POST")
        try:
            form = parse_qs((await request.http.read())[:MAX_FORM].decode("ascii"), max_num_fields=MAX_FIELDS)
            given = {**request.http.query, **{name: values[0] for name, values in form.items()}}
            report = wake(given.get("mac", ""), given.get("interface", ""))
        except ValueError:
            return text(400, "not a form")
        except ApplianceError as error:
            return text(429 if error.code == "wake-rate" else 400, error.line())
        return web.Response(body=encode_answer(report), content_type="application/json")

    routes.add(PATH, answer)


async def ask_to_wake(dialer: StreamDialer, endpoint: AddrPort, mac: str, interface: str) -> WakeReport:
    """Have the gateway at `endpoint` wake a host of its site. Raises `WakeRefusedError`."""
    fields = {"mac": mac, **({"interface": interface} if interface else {})}
    try:
        async with asyncio.timeout(TIMEOUT_S):
            status, body = await _post(dialer, endpoint, urlencode(fields).encode())
    except (OSError, DecodeError) as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or "it closed the connection"
        raise WakeRefusedError(f"the gateway at {endpoint.ip} does not answer: {reason}") from error
    if status == 403:
        mend = f"let the policy grant this node {CAP_WAKE} toward that gateway, or use a node of the same user"
        raise WakeRefusedError(f"the gateway at {endpoint.ip} wakes no hosts for this node", mend=mend)
    if status != 200:
        said = body.decode(errors="replace").strip()[:200] or f"HTTP {status}"
        raise WakeRefusedError(f"the gateway at {endpoint.ip} refuses: {said}")
    try:
        return parse_answer(body)
    except DecodeError:
        raise WakeRefusedError(f"the gateway at {endpoint.ip} answers with something else") from None


async def _post(dialer: StreamDialer, endpoint: AddrPort, form: bytes) -> tuple[int, bytes]:
    headers = (
        ("Host", str(endpoint)),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Length", str(len(form))),
        ("Connection", "close"),
    )
    stream = await dialer.dial(endpoint.ip, endpoint.port, timeout_s=TIMEOUT_S)
    try:
        stream.write(encode_request_head("POST", PATH, headers) + form)
        await stream.drain()
        received = b""
        while (parsed := parse_response_head(received)) is None:
            received += await _more(stream.read)
        head, size = parsed
        wanted = min(head.content_length() or 0, MAX_ANSWER)
        while len(received) < size + wanted:
            received += await _more(stream.read)
        return head.status, received[size : size + wanted]
    finally:
        stream.close()


async def _more(read: Callable[[], Awaitable[bytes]]) -> bytes:
    data = await read()
    if not data:
        raise ConnectionResetError("it closed the connection")
    return data
