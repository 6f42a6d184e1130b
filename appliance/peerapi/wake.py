"""`/v0/wol`: a peer has a host of this site woken (apps spec 1.4), and the other half: asking a peer to.

Who may: a node of the same user, or one to which the policy grants the capability `wake-on-lan` toward this node.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlencode

from aiohttp import web

from appliance.peerapi.client import NoAnswerError, ask_peer
from appliance.peerapi.routes import PeerRequest, PeerRoutes
from appliance.peerapi.server import text
from appliance.ports.streams import StreamDialer
from appliance.proto.wake_on_lan import MAX_ANSWER, encode_answer, parse_answer
from appliance.types.addresses import AddrPort
from appliance.types.errors import ApplianceError, DecodeError
from appliance.types.wake import WakeReport

PATH = "/v0/wol"
CAP_WAKE = "https://tailscale.com/cap/wake-on-lan"
MAX_FORM = 1024
MAX_FIELDS = 8

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
        form = urlencode(fields).encode()
        status, body = await ask_peer(dialer, endpoint, "POST", PATH, form=form, most=MAX_ANSWER)
    except NoAnswerError as error:
        raise WakeRefusedError(f"the gateway at {endpoint.ip} does not answer: {error}") from error
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
