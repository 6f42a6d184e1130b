"""Settings: table `[plugins.status_page]` of waypost.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from appliance.api import Bounds, SettingError, check_declared

DEFAULT_PORT = 5280
MAX_HOSTS = 16
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True)
class StatusPageConfig:
    """`port` is the same on every address. `hosts` are kept in lower case."""

    port: Annotated[int, Bounds(1, 65535)] = DEFAULT_PORT
    """TCP port of the page."""
    loopback: bool = True
    """Listen on 127.0.0.1 and ::1."""
    overlay: bool = True
    """Listen on this node's own addresses in the mesh."""
    hosts: tuple[str, ...] = ()
    """More names under which browsers may open the page, such as a name of the own DNS."""
    session_hours: Annotated[int, Bounds(1, 24 * 30)] = 12
    """How long a sign-in lasts."""
    max_peers: Annotated[int, Bounds(1, 1000)] = 200
    """Peers shown; active ones come first."""

    def __post_init__(self) -> None:
        check_declared(self)
        if len(self.hosts) > MAX_HOSTS:
            raise SettingError("hosts", f"has more than {MAX_HOSTS} entries", mend="name only what people type")
        object.__setattr__(self, "hosts", tuple(_host(index, name) for index, name in enumerate(self.hosts)))


def _host(index: int, name: str) -> str:
    host = name.strip().lower().rstrip(".")
    if not _HOST.fullmatch(host):
        raise SettingError(f"hosts[{index}]", f"{name!r} is no host name", mend="write a name without scheme and port")
    return host
