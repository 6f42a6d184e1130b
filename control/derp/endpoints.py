"""The small HTTP endpoints of a DERP host (derp spec 5.1), for our listener and for the control server's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.proto.http1.head import encode_response_head

if TYPE_CHECKING:
    from appliance.proto.http1.head import RequestHead

PROBES = ("/derp/probe", "/derp/latency-check")
_CHALLENGE = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_NO_CACHE = "no-cache, no-store, must-revalidate, no-transform, max-age=0"


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers without Content-Length, and body of an answer."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def encode(self, *, head_only: bool = False) -> bytes:
        """The answer on the wire; `head_only` for HEAD."""
        size = () if self.status == 204 else (("Content-Length", str(len(self.body))),)
        return encode_response_head(self.status, (*self.headers, *size)) + (b"" if head_only else self.body)


def plain_reply(head: RequestHead) -> Reply | None:
    """Answer to a request for one of these endpoints; None when the path is another one."""
    if head.path in PROBES:
        return _probe(head.method)
    if head.path == "/generate_204":
        return _no_content(head.header("x-tailscale-challenge") or "")
    if head.path == "/robots.txt":
        return Reply(200, (("Content-Type", "text/plain"),), b"User-agent: *\nDisallow: /\n")
    return None


def _probe(method: str) -> Reply:
    if method not in ("GET", "HEAD"):
        return Reply(405, (("Allow", "GET, HEAD"),), b"bogus method\n")
    return Reply(200, (("Access-Control-Allow-Origin", "*"),))


def _no_content(challenge: str) -> Reply:
    """A captive portal cannot know the response to the challenge; a bad challenge gets none."""
    headers = [("Cache-Control", _NO_CACHE)]
    if _CHALLENGE.fullmatch(challenge):
        headers.append(("X-Tailscale-Response", f"response {challenge}"))
    return Reply(204, tuple(headers))
