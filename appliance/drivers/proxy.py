"""An HTTP proxy toward control and DERP: which connections take it, and the CONNECT request (RFC 9110 section 9.3.6).

Settings are those of the field: `control.proxy`, else HTTPS_PROXY and HTTP_PROXY, and NO_PROXY. A proxy is spoken to
in plain HTTP; what passes through it is the tunnel's own.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

from appliance.proto.http1.head import MAX_HEAD_SIZE, parse_response_head
from appliance.types.errors import ConfigError, DecodeError

MEND = "write it like http://proxy.example:3128 or http://user:password@proxy.example:3128"


class ProxyRefusedError(OSError):
    """The proxy answered, but not with a connection."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """`authorization`: value of the Proxy-Authorization header, "" = none."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)


def parse_proxy(text: str, place: str) -> Proxy:
    """A proxy's URL. Raises `ConfigError`, which names `place` and never the URL: it may hold a password."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port or 3128
    except ValueError:
        raise ConfigError(f"{place} is not the URL of a proxy", mend=MEND) from None
    if parts.scheme != "http" or not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(f"{place} is not the URL of an HTTP proxy", mend=MEND)
    return Proxy(host, port, _authorization(parts.username, parts.password))


def _authorization(user: str | None, password: str | None) -> str:
    if user is None:
        return ""
    plain = f"{unquote(user)}:{unquote(password or '')}"
    return "Basic " + base64.b64encode(plain.encode()).decode()


class ProxyRules:
    """`https` for connections in TLS, `http` for others; `no_proxy` as the environment variable spells it."""

    def __init__(self, https: Proxy | None = None, http: Proxy | None = None, no_proxy: str = "") -> None:
        self._https = https
        self._http = http
        self._exceptions = tuple(part.strip().lower() for part in no_proxy.split(",") if part.strip())

    def choose(self, host: str, port: int, *, tls: bool) -> Proxy | None:
        """The proxy for a connection; None: straight."""
        proxy = self._https if tls else self._http
        return None if proxy is None or self._is_exempt(host.lower().rstrip("."), port) else proxy

    def _is_exempt(self, host: str, port: int) -> bool:
        if host == "localhost":
            return True
        try:
            if ip_address(host).is_loopback:
                return True
        except ValueError:
            pass  # a name
        return any(_covers(rule, host, port) for rule in self._exceptions)


def _covers(rule: str, host: str, port: int) -> bool:
    """`*`, a name with all below it, `.name` for what is below only, an address, a prefix; perhaps with a port."""
    if rule == "*":
        return True
    name, colon, number = rule.rpartition(":")
    if colon and number.isdigit() and (":" not in name or name.endswith("]")):
        if int(number) != port:
            return False
        rule = name
    rule = rule.strip("[]").removeprefix("*")
    try:
        address = ip_address(host)
    except ValueError:
        return host.endswith(rule) if rule.startswith(".") else host == rule or host.endswith(f".{rule}")
    try:
        return address in ip_network(rule, strict=False)
    except ValueError:
        return False


def rules_from(configured: str, environment: Mapping[str, str]) -> ProxyRules:
    """`configured` goes before the environment's proxies; NO_PROXY holds for both. Raises `ConfigError`."""

    def variable(name: str) -> str:
        return environment.get(name, "") or environment.get(name.lower(), "")

    def of(name: str) -> Proxy | None:
        return parse_proxy(variable(name), name) if variable(name) else None

    if configured:
        proxy = parse_proxy(configured, "control.proxy")
        return ProxyRules(proxy, proxy, variable("NO_PROXY"))
    https = of("HTTPS_PROXY")
    return ProxyRules(https, of("HTTP_PROXY"), variable("NO_PROXY"))


async def open_tunnel(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Ask the proxy at the other end of `sock` for a connection. Raises `ProxyRefusedError` and other `OSError`s."""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode("latin-1"))
    name, answer = f"the proxy {proxy.host}:{proxy.port}", bytearray()
    try:
        while (parsed := parse_response_head(answer)) is None:
            data = await loop.sock_recv(sock, MAX_HEAD_SIZE)
            if not data:
                raise ProxyRefusedError(f"{name} closed the connection")
            answer += data
    except DecodeError as error:
        raise ProxyRefusedError(f"{name} does not speak HTTP") from error
    head, size = parsed
    if not 200 <= head.status < 300:
        raise ProxyRefusedError(f"{name} refuses {target}: {head.status} {head.reason}".rstrip())
    if len(answer) > size:
        raise ProxyRefusedError(f"{name} sent data before it was asked for any")
