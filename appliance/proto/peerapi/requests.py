"""Checks of a request's headers (apps spec 1.3): browsers and rebound names are not to reach a peer API."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from appliance.types.addresses import Address, parse_addr_port
from appliance.types.errors import DecodeError

ANY_HOST = "peer"
"""A `Host` for clients that cannot name the address."""
BROWSER_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; script-src 'none'; form-action 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
}


def is_cross_site(headers: Mapping[str, str]) -> bool:
    """Whether a page in a browser caused the request. `headers` must ignore case."""
    return "Referer" in headers or "Origin" in headers


def host_is_ours(host: str, own: Collection[Address]) -> bool:
    """Whether `Host` is `peer`, or `ip:port` with one of our addresses and any port."""
    if host == ANY_HOST:
        return True
    try:
        return parse_addr_port(host).address in own
    except DecodeError:
        return False


def looks_like_browser(headers: Mapping[str, str]) -> bool:
    """Whether the answer should forbid everything that a browser could make of it."""
    encodings = {part.partition(";")[0].strip().lower() for part in headers.get("Accept-Encoding", "").split(",")}
    agent = headers.get("User-Agent", "")
    return (
        "deflate" in encodings or agent.startswith("Mozilla/") or agent.count(" ") > 2 or "Accept-Language" in headers
    )
