"""Settings: table `[plugins.peer_relay]` of waypost.toml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from appliance.api import Bounds, SettingError, check_declared
from plugins.peer_relay.rules import checked_endpoint

DEFAULT_PORT = 41642
MAX_STATIC = 8
MAX_SESSIONS = 1 << 20


@dataclass(frozen=True)
class PeerRelayConfig:
    """One UDP port carries everything; open it in firewalls."""

    port: Annotated[int, Bounds(0, 65535)] = DEFAULT_PORT
    """0 takes any free one."""
    static_endpoints: tuple[str, ...] = ()
    """Where others reach the port when this host cannot know it (a forwarded port): "203.0.113.5:41642"."""
    stun: bool = True
    """Ask the mesh's STUN servers how the port looks from outside."""
    max_sessions: Annotated[int, Bounds(1, MAX_SESSIONS)] = 1024
    """Pairs that are served at a time."""
    max_sessions_per_node: Annotated[int, Bounds(1, MAX_SESSIONS)] = 128
    """Pairs that one node may have asked for at a time."""
    max_mbit_per_pair: Annotated[int, Bounds(0, 1_000_000)] = 0
    """Megabits a second that one pair may send, both ways together; more is dropped. 0: no limit."""

    kernel: bool = True
    """Have the kernel forward for pairs that are bound, where it does."""

    def __post_init__(self) -> None:
        check_declared(self)
        if len(self.static_endpoints) > MAX_STATIC:
            raise SettingError("static_endpoints", f"has more than {MAX_STATIC} entries", mend="name the public ones")
        checked = tuple(checked_endpoint(index, text) for index, text in enumerate(self.static_endpoints))
        object.__setattr__(self, "static_endpoints", checked)
