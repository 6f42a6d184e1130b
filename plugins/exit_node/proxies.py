"""Pure: proxies that an exit may have as its uplink."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from appliance.types.addresses import AddrPort
from plugins.exit_node.errors import ProxyRefusedError

SCHEMES = {"socks5": 1080, "http": 3128}
MAX_CREDENTIAL = 255
"""Bytes of a user's name or password (RFC 1929 section 2)."""
Credentials = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Proxy:
    """`is_socks`: SOCKS5, else HTTP CONNECT."""

    is_socks: bool
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ForwarderPlaces:
    """Where the forwarder listens now, 0: nowhere; resolvers as "ip:port". `answers`: the proxy takes connections.

    `no_udp` says why UDP is refused (`udp_port` 0). `associations` carry it for that many of the users' sockets;
    `lost` counts datagrams that could not go on.
    """

    port: int = 0
    resolvers: tuple[str, ...] = ()
    answers: bool = True
    error: str = ""
    udp_port: int = 0
    no_udp: str = ""
    associations: int = 0
    lost: int = 0


def relay_of(bound: AddrPort | None, proxy_ip: str) -> AddrPort:
    """Where an association's datagrams go: as the proxy said, with the proxy's own address where it gave none.

    Raises `ProxyRefusedError`.
    """
    if bound is None or not bound.port:
        raise ProxyRefusedError("the proxy names no place for UDP")
    if bound.address.is_unspecified:
        return AddrPort(proxy_ip, bound.port)
    if bound.address.is_multicast or (bound.address.is_loopback and not ip_address(proxy_ip).is_loopback):
        raise ProxyRefusedError("the proxy names a place for UDP that is not its own")
    return bound


def is_proxy(text: str) -> bool:
    return "://" in text


def parse_proxy(text: str) -> Proxy:
    """Raises ValueError with one clause, which never holds what may be a password."""
    try:
        parts = urlsplit(text)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        raise ValueError("is no proxy's URL") from None
    if scheme not in SCHEMES:
        raise ValueError(f"is no proxy of a known kind ({', '.join(SCHEMES)})")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user's name, which belongs into a file")
    if not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("names no host, or more than that")
    return Proxy(scheme == "socks5", host, port or SCHEMES[scheme])


def parse_credentials(text: str) -> Credentials:
    """One line `user:password`. Raises ValueError."""
    user, colon, password = text.strip("\r\n").partition(":")
    if not colon or not user:
        raise ValueError("holds no user:password")
    if max(len(user.encode()), len(password.encode())) > MAX_CREDENTIAL or not text.strip().isprintable():
        raise ValueError("holds too long or unprintable credentials")
    return user, password
