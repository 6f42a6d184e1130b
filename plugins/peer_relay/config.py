"""Settings: table `[plugins.peer_relay]` of waypost.toml."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.api import SettingError
from plugins.peer_relay.rules import checked_endpoint

DEFAULT_PORT = 41642
MAX_STATIC = 8
MAX_SESSIONS = 1 << 20


@dataclass(frozen=True)
class PeerRelayConfig:
    """One UDP port carries everything; open it in firewalls."""

    port: int = DEFAULT_PORT
    """0 takes any free one."""
    static_endpoints: tuple[str, ...] = ()
    """Where others reach the port when this host cannot know it (a forwarded port): "203.0.113.5:41642"."""
    stun: bool = True
    """Ask the mesh's STUN servers how the port looks from outside."""
    max_sessions: int = 1024
    max_sessions_per_node: int = 128
    """Pairs that one node may have asked for at a time."""
    max_mbit_per_pair: int = 0
    """Megabits a second that one pair may send, both ways together; more is dropped. 0: no limit."""

    kernel: bool = True
    """Have the kernel forward for pairs that are bound, where it does."""

    def __post_init__(self) -> None:
        _check_range("port", self.port, 0, 65535)
        _check_range("max_sessions", self.max_sessions, 1, MAX_SESSIONS)
        _check_range("max_mbit_per_pair", self.max_mbit_per_pair, 0, 1_000_000)
        _check_range("max_sessions_per_node", self.max_sessions_per_node, 1, MAX_SESSIONS)
        if len(self.static_endpoints) > MAX_STATIC:
            raise SettingError("static_endpoints", f"has more than {MAX_STATIC} entries", mend="name the public ones")
        checked = tuple(checked_endpoint(index, text) for index, text in enumerate(self.static_endpoints))
        object.__setattr__(self, "static_endpoints", checked)


def _check_range(key: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise SettingError(key, f"{value} is out of range", mend=f"give a number from {least} to {most}")
