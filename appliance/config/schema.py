"""What `waypost.toml` may say, as frozen dataclasses with defaults.

Each section is a dataclass; a field's metadata carries its check. Plugins own their tables: `[plugins.<name>]` is kept
raw and checked by the plugin. Precedence, lowest first: these defaults, `waypost.toml`, drop-ins in order of name,
runtime preferences (`waypost set`), command line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from appliance.types.addresses import parse_addr_port
from appliance.types.errors import DecodeError

VERSION = 1
"""Version of the file format; a file without `version` is of this one."""

MAX_STATIC_ENDPOINTS = 16
MAX_UPLINKS = 8

Check = Callable[[Any], str]
"""Returns what is wrong with a value of the right type, in words, or ""."""

_INTERFACE = re.compile(r"[A-Za-z0-9._-]{1,15}")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.IGNORECASE)


def control_url_problem(text: str) -> str:
    """Why `text` is no control server URL, or "" when it is one; "" itself means not set."""
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "must look like https://control.example.net"
    if port == 0 or parts.query or parts.fragment or parts.username or parts.path not in ("", "/"):
        return "must be scheme, host and port only"
    return ""


def hostname_problem(text: str) -> str:
    """Why `text` is no host name, or ""; "" itself means the machine's own name."""
    if not text or _LABEL.fullmatch(text):
        return ""
    return "must be one DNS label: letters, digits and hyphens, at most 63"


def _interface_problem(text: str) -> str:
    if _INTERFACE.fullmatch(text) and text not in (".", ".."):
        return ""
    return "must be 1 to 15 letters, digits, dots, hyphens or underscores"


def _between(low: int, high: int) -> Check:
    return lambda value: "" if low <= value <= high else f"must be between {low} and {high}"


def _one_of(*words: str) -> Check:
    return lambda value: "" if value in words else "must be one of " + ", ".join(words)


def _absolute(text: str) -> str:
    return "" if text == "" or text.startswith("/") else "must be an absolute path"


def _endpoints_problem(texts: Sequence[str]) -> str:
    if len(texts) > MAX_STATIC_ENDPOINTS:
        return f"may have at most {MAX_STATIC_ENDPOINTS} entries"
    for text in texts:
        try:
            endpoint = parse_addr_port(text)
        except DecodeError:
            return (
                f"has {text[:64]!r}, which is no address with a port such as 203.0.113.5:41641 or [2001:db8::5]:41641"
            )
        address = endpoint.address
        if not endpoint.port or address.is_unspecified or address.is_loopback or address.is_multicast:
            return f"has {text[:64]!r}, which nobody could reach"
    return ""


def _uplinks_problem(names: Sequence[str]) -> str:
    if len(names) == 1 or len(names) > MAX_UPLINKS or len(set(names)) != len(names):
        return f"must name 2 to {MAX_UPLINKS} different interfaces, or none"
    return _interfaces_problem(names)


def _interfaces_problem(names: Sequence[str]) -> str:
    return next((f"has {name[:64]!r}: {problem}" for name in names if (problem := _interface_problem(name))), "")


def _proxy_problem(text: str) -> str:
    return "" if not text or text.startswith("http://") else "must look like http://proxy.example:3128"


def _checked(default: Any, check: Check) -> Any:
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True, slots=True)
class NodeSection:
    """`[node]`. `hostname` "" takes the machine's name."""

    hostname: str = _checked("", hostname_problem)


@dataclass(frozen=True, slots=True)
class ControlSection:
    """`[control]`. `url` is used until `waypost up --control-url` chose another; `ca_file` adds a private CA.

    `proxy`: HTTP proxy toward control and DERP; "" takes HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the environment.
    `remote_settings`: whether control may change settings, which then go back unless it confirms them.
    """

    url: str = _checked("", control_url_problem)
    ca_file: str = _checked("", _absolute)
    proxy: str = field(default="", repr=False, metadata={"check": _proxy_problem})
    remote_settings: bool = True


@dataclass(frozen=True, slots=True)
class TunnelSection:
    """`[tunnel]`. `port` 0 takes any free UDP port. `engine` auto: the kernel's WireGuard where there is one.

    `native`: the userspace engine's native step, `auto`: if built.
    """

    engine: str = _checked("auto", _one_of("auto", "kernel", "userspace"))
    interface: str = _checked("waypost0", _interface_problem)
    port: int = _checked(41641, _between(0, 65535))
    mtu: int = _checked(1280, _between(1280, 9000))
    native: str = _checked("auto", _one_of("auto", "on", "off"))


@dataclass(frozen=True, slots=True)
class PathsSection:
    """`[paths]`. `port_mapping`: ask the router for an outside port by what it speaks (`auto`), by one protocol, not.

    `static_endpoints`: addresses with ports at which others reach this gateway, such as a port forwarded by hand.
    `uplinks`: two or more interfaces that lead to the Internet, the preferred first; measured, and the better one used
    for the mesh. `uplink_policy`: `order` takes the first that works, `fastest` that with the least latency, `widest`
    that which carries most upward. `uplink_throughput`: find out what they carry, `auto`: but for those that are paid
    by the byte, modems and `metered_uplinks`.
    `hard_nat_sockets`: sockets that an attempt to cross a NAT with changing ports may open, 0: none is made.
    `path_mtu`: find out how large packets may be on a path. `idle_paths`: keep direct paths for a while after their
    traffic, with as few packets as the NATs allow. Both `auto`: where control says so.
    """

    port_mapping: str = _checked("auto", _one_of("auto", "off", "pcp", "nat-pmp", "upnp"))
    static_endpoints: tuple[str, ...] = _checked((), _endpoints_problem)
    uplinks: tuple[str, ...] = _checked((), _uplinks_problem)
    uplink_policy: str = _checked("order", _one_of("order", "fastest", "widest"))
    uplink_throughput: str = _checked("auto", _one_of("auto", "on", "off"))
    metered_uplinks: tuple[str, ...] = _checked((), _interfaces_problem)
    hard_nat_sockets: int = _checked(256, _between(0, 512))
    path_mtu: str = _checked("auto", _one_of("auto", "on", "off"))
    idle_paths: str = _checked("auto", _one_of("auto", "on", "off"))


@dataclass(frozen=True, slots=True)
class RouterSection:
    """`[router]`. `foreign`: only `detect` other firewalls that drop tunnel traffic, or `open` them to it."""

    foreign: str = _checked("detect", _one_of("detect", "open"))


@dataclass(frozen=True, slots=True)
class LogSection:
    """`[log]`. `auto` is human on a terminal, JSON elsewhere."""

    format: str = _checked("auto", _one_of("auto", "human", "json"))
    level: str = _checked("info", _one_of("debug", "info", "warning", "error"))


@dataclass(frozen=True, slots=True)
class DaemonSection:
    """`[daemon]`: where the daemon keeps its state, listens for local commands, and finds its root helper.

    `rootless`: run as an ordinary user, with the tunnel in a network of its own.
    """

    state_dir: str = _checked("/var/lib/waypost", _absolute)
    socket: str = _checked("/run/waypost/waypostd.sock", _absolute)
    apps_socket: str = _checked("", _absolute)
    helper_socket: str = _checked("/run/waypost-helper/helper.sock", _absolute)
    rootless: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file. `plugins` maps a plugin's name to its raw table; `sources` are the files read, in order;
    `places` maps a dotted key to its file and line."""

    node: NodeSection = field(default_factory=NodeSection)
    control: ControlSection = field(default_factory=ControlSection)
    tunnel: TunnelSection = field(default_factory=TunnelSection)
    paths: PathsSection = field(default_factory=PathsSection)
    router: RouterSection = field(default_factory=RouterSection)
    log: LogSection = field(default_factory=LogSection)
    daemon: DaemonSection = field(default_factory=DaemonSection)
    plugins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict, compare=False)


SECTIONS: Mapping[str, type] = {
    "node": NodeSection,
    "control": ControlSection,
    "tunnel": TunnelSection,
    "paths": PathsSection,
    "router": RouterSection,
    "log": LogSection,
    "daemon": DaemonSection,
}
