"""Pure: which requests of a browser are served at all, by their headers.

A page on another site can make a browser send requests here. Three walls against it: the Host header must name this
gateway (DNS rebinding), Fetch metadata or Origin must say that the request comes from our own page (W3C Fetch Metadata,
RFC 6454 section 7), and the session cookie is SameSite=Strict.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

LOOPBACK = ("localhost", "127.0.0.1", "::1")
HTTP_PORT = 80
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # not no-referrer: browsers would then send "Origin: null" with our own forms
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def known_hosts(addresses: Iterable[str], names: Iterable[str]) -> frozenset[str]:
    """Hosts that are this gateway. Of a name "gw.mesh.internal" the first label alone is one too."""
    found = {*LOOPBACK, *(_plain(address) for address in addresses)}
    for name in names:
        plain = _plain(name)
        found.update(part for part in (plain, plain.partition(".")[0]) if part)
    return frozenset(found)


def is_own_host(header: str | None, hosts: frozenset[str], port: int) -> bool:
    """Whether a Host header names one of `hosts` at `port`."""
    split = split_host(header or "")
    return split is not None and split[0] in hosts and split[1] == port


def split_host(text: str) -> tuple[str, int] | None:
    """Host in normal form and port of "name:port", "1.2.3.4:port", "[v6]:port"; None when it is none of these."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None
        port = rest[1:] if rest else str(HTTP_PORT)
    else:
        host, colon, port = text.partition(":")
        port = port if colon else str(HTTP_PORT)
    if not host or not port.isascii() or not port.isdigit() or len(port) > 5:
        return None
    return _plain(host), int(port)


def is_cross_site(method: str, fetch_site: str | None, origin: str | None, host: str) -> bool:
    """Whether another site may be behind the request.

    A changing request must prove that it comes from our own page; programs without a browser may read.
    """
    if fetch_site is not None and fetch_site not in ("same-origin", "none"):
        return True
    if origin is not None and origin != f"http://{host}":
        return True
    if method in ("GET", "HEAD"):
        return False
    return origin is None and fetch_site != "same-origin"


def page_url(address: str, port: int) -> str:
    """URL of the page at an address or name."""
    return f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"


def _plain(host: str) -> str:
    """Lower case, without the final dot; addresses in their normal form."""
    name = host.lower().rstrip(".")
    try:
        return str(ip_address(name))
    except ValueError:
        return name
