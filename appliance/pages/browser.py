"""Which requests of a browser are served at all, by their headers.

A page on another site can make a browser send requests here. Three walls against it: the Host header must name this
server (DNS rebinding; the page knows its names), Fetch metadata or Origin must say that the request comes from our own
page (W3C Fetch Metadata, RFC 6454 section 7), and the session cookie is SameSite=Strict.
"""

from __future__ import annotations

from ipaddress import ip_address

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
    return plain_host(host), int(port)


def plain_host(host: str) -> str:
    """Lower case, without the final dot; addresses in their normal form."""
    name = host.lower().rstrip(".")
    try:
        return str(ip_address(name))
    except ValueError:
        return name


def is_cross_site(
    method: str, fetch_site: str | None, origin: str | None, host: str, schemes: tuple[str, ...] = ("http",)
) -> bool:
    """Whether another site may be behind the request. `schemes` are those that the page is reached by.

    A changing request must prove that it comes from our own page; programs without a browser may read.
    """
    if fetch_site is not None and fetch_site not in ("same-origin", "none"):
        return True
    if origin is not None and origin not in [f"{scheme}://{host}" for scheme in schemes]:
        return True
    if method in ("GET", "HEAD"):
        return False
    return origin is None and fetch_site != "same-origin"
