"""Pure: which requests of a browser are served, by their headers.

The Host header must be an address or a name of this server: a name that an attacker points here (DNS rebinding) is
neither. Fetch metadata or Origin must say that the request comes from our own page (W3C Fetch Metadata).
"""

from __future__ import annotations

from ipaddress import ip_address

SECURITY_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),  # not no-referrer: browsers would send "Origin: null" with our own forms
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


def is_own_host(header: str | None, names: frozenset[str]) -> bool:
    """Whether a Host header is an IP address, "localhost" or one of `names` (lower case), at any port."""
    host = _host_of(header or "")
    if host in names or host == "localhost":
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_cross_site(method: str, fetch_site: str | None, origin: str | None, host: str) -> bool:
    """Whether another site may be behind the request; a changing one must prove that it comes from our own page."""
    if fetch_site is not None and fetch_site not in ("same-origin", "none"):
        return True
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return True
    if method in ("GET", "HEAD"):
        return False
    return origin is None and fetch_site != "same-origin"


def _host_of(text: str) -> str:
    """Host of "name:port" or "[v6]:port"; "" when it is neither."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest else "80"
        whole = bracket and (not rest or rest.startswith(":"))
    else:
        host, colon, port = text.partition(":")
        port, whole = (port if colon else "80"), True
    fine = whole and port.isascii() and port.isdigit() and len(port) <= 5
    return host.lower().rstrip(".") if fine else ""
