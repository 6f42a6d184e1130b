"""The control server's URL, and where its tunnel is dialled (control-protocol spec section 3.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from appliance.netmap.errors import BadControlUrl
from appliance.types.addresses import literal

_HOST = re.compile(r"[A-Za-z0-9._:-]+")


@dataclass(frozen=True, slots=True)
class ControlAddress:
    """Parsed URL. `port` None: the scheme's own. `host` without brackets, lower case, A-labels."""

    scheme: str
    host: str
    port: int | None = None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_header}"

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def key_port(self) -> int:
        """Port of the ordinary HTTP request for the server's key."""
        return self.port or (443 if self.scheme == "https" else 80)

    @property
    def plain_port(self) -> int:
        """Port at which the tunnel is tried without TLS."""
        return self.port or 80 if self.scheme == "http" else 80

    @property
    def tls_port(self) -> int | None:
        """Port at which the tunnel is tried in TLS; None: not at all."""
        if self.scheme == "https":
            return self.port or 443
        return None if is_private(self.host) else 443

    @property
    def sni(self) -> str:
        """Name for TLS; empty for an IP literal."""
        return "" if literal(self.host) else self.host


def parse_control_url(text: str) -> ControlAddress:
    """Parse `https://control.example` or the like. Raises `BadControlUrl` with the mend."""
    url = text.strip()
    mend = "write it like https://control.example or http://192.0.2.1:8080"
    if not url:
        raise BadControlUrl("no control server is set", mend="give it with --login-server")
    if "://" not in url:
        raise BadControlUrl(f"control server {url!r} is not a URL", mend=mend)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if host and not literal(host):
            host = host.encode("idna").decode("ascii")
    except (ValueError, UnicodeError):
        raise BadControlUrl(f"control server {url!r} is not a URL", mend=mend) from None
    if parts.scheme not in ("http", "https") or not host or not _HOST.fullmatch(host) or port == 0:
        raise BadControlUrl(f"control server {url!r} is not an http or https URL", mend=mend)
    if parts.username or parts.password or parts.query or parts.fragment or parts.path not in ("", "/"):
        raise BadControlUrl(f"control server {url!r} has more than a host and a port", mend=mend)
    return ControlAddress(parts.scheme, host.lower(), port)


def is_private(host: str) -> bool:
    """Private or loopback address, or `localhost`: such servers are not tried by TLS unless the URL says so."""
    if host == "localhost":
        return True
    address = literal(host)
    return address is not None and (address.is_private or address.is_loopback)
