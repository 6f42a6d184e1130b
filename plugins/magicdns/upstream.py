"""Pure: how an upstream resolver is written, in settings and by control, and what is known of public ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from appliance.types.addresses import is_overlay
from plugins.magicdns.errors import UpstreamSettingError

PLAIN_PORT, TLS_PORT, HTTPS_PORT = 53, 853, 443
FORMS = "write 9.9.9.9, 9.9.9.9:53, tls://9.9.9.9#dns.quad9.net or https://dns.quad9.net/dns-query"


class Kind(StrEnum):
    PLAIN = "plain"
    """UDP, then TCP."""
    TLS = "tls"
    HTTPS = "https"
    PEER = "peer"
    """The peer API of a node: DNS over HTTP inside the tunnel."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """`address` "" for a name that must be looked up first. `server_name` is checked against the certificate."""

    kind: Kind
    address: str
    port: int
    server_name: str = ""
    path: str = ""

    @property
    def is_inside(self) -> bool:
        """Whether it is reached through the tunnel: it has an address of the mesh."""
        return bool(self.address) and is_overlay(ip_address(self.address))

    def __str__(self) -> str:
        host = self.address or self.server_name
        where = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        if self.kind is Kind.PLAIN:
            return host if self.port == PLAIN_PORT else where
        if self.kind is Kind.TLS:
            return f"tls://{self.server_name or where}"
        return f"https://{self.server_name}{self.path}" if self.kind is Kind.HTTPS else f"http://{where}{self.path}"


_PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "dns.quad9.net": ("9.9.9.9", "149.112.112.112", "2620:fe::fe", "2620:fe::9"),
    "dns10.quad9.net": ("9.9.9.10", "149.112.112.10", "2620:fe::10", "2620:fe::fe:10"),
    "dns11.quad9.net": ("9.9.9.11", "149.112.112.11", "2620:fe::11", "2620:fe::fe:11"),
    "cloudflare-dns.com": ("1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001"),
    "security.cloudflare-dns.com": ("1.1.1.2", "1.0.0.2", "2606:4700:4700::1112", "2606:4700:4700::1002"),
    "family.cloudflare-dns.com": ("1.1.1.3", "1.0.0.3", "2606:4700:4700::1113", "2606:4700:4700::1003"),
    "dns.google": ("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"),
    "dns.mullvad.net": ("194.242.2.2", "2a07:e340::2"),
}
"""Public resolvers by the name in their certificate; each answers DNS over HTTPS at /dns-query."""


def known_addresses(server_name: str) -> tuple[str, ...]:
    """Where a public resolver is, without asking anybody; empty for one that is not known."""
    return _PROVIDERS.get(server_name, ())


def parse_upstream(text: str, key: str = "upstreams") -> Upstream:
    """Raises `UpstreamSettingError` at `key`."""
    scheme, sep, _ = text.partition("://")
    try:
        if not sep:
            return _plain(text)
        if scheme == "tls":
            return _tls(text)
        if scheme in ("https", "http"):
            return _http(text)
    except ValueError:
        pass
    raise UpstreamSettingError(key, f"{text[:80]!r} is not a resolver", mend=FORMS)


def _plain(text: str) -> Upstream:
    address, port = _host_port(text, PLAIN_PORT)
    return Upstream(Kind.PLAIN, str(_usable(address)), port)


def _tls(text: str) -> Upstream:
    parts = urlsplit(text)
    host, port = parts.hostname or "", parts.port or TLS_PORT
    if parts.path or parts.query or not host:
        raise ValueError(text)
    if _is_address(host):
        return Upstream(Kind.TLS, str(_usable(host)), port, parts.fragment or host)
    return Upstream(Kind.TLS, str(_usable(parts.fragment)) if parts.fragment else "", port, host)


def _http(text: str) -> Upstream:
    parts = urlsplit(text)
    host = parts.hostname or ""
    if parts.query or parts.username or not host:
        raise ValueError(text)
    path = parts.path or "/dns-query"
    if parts.scheme == "https":
        address = str(_usable(parts.fragment)) if parts.fragment else host if _is_address(host) else ""
        return Upstream(Kind.HTTPS, address, parts.port or HTTPS_PORT, host, path)
    if not is_overlay(_usable(host)):  # in the open nobody may read along
        raise ValueError(text)
    return Upstream(Kind.PEER, host, parts.port or 80, "", path)


def _host_port(text: str, port: int) -> tuple[str, int]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(text)
        return host, _port(rest[1:], port)
    if text.count(":") == 1:
        host, _, rest = text.partition(":")
        return host, _port(rest, port)
    return text, port


def _port(text: str, default: int) -> int:
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError(text)
    return int(text)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _usable(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text)
    if address.is_unspecified or address.is_multicast or "%" in text:
        raise ValueError(text)
    return address


def parse_upstreams(texts: Iterable[str], key: str) -> tuple[Upstream, ...]:
    """Each once. Raises `UpstreamSettingError` at `key[index]`."""
    return tuple(dict.fromkeys(parse_upstream(text, f"{key}[{index}]") for index, text in enumerate(texts)))


def without(upstreams: Iterable[Upstream], own: Iterable[str]) -> tuple[Upstream, ...]:
    """Those that are not this host's own resolver, which would ask itself for ever."""
    mine = frozenset(own)
    return tuple(each for each in upstreams if each.kind is not Kind.PLAIN or each.address not in mine)
