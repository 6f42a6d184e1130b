"""Where a rootless gateway keeps its things and listens, by the XDG base directories; and which gateway a CLI means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from appliance.localapi.schema import DEFAULT_SOCKET

_NAME = "waypost"
_SOCKET = "waypostd.sock"


def user_config(environ: Mapping[str, str]) -> Path:
    return _base(environ, "XDG_CONFIG_HOME", ".config") / _NAME / "waypost.toml"


def user_state(environ: Mapping[str, str]) -> Path:
    return _base(environ, "XDG_STATE_HOME", ".local/state") / _NAME


def user_socket(environ: Mapping[str, str]) -> Path:
    """In the user's run directory; beside the state where a session has none."""
    run = environ.get("XDG_RUNTIME_DIR", "")
    return (Path(run) / _NAME if run.startswith("/") else user_state(environ)) / _SOCKET


def found_socket(environ: Mapping[str, str], system: Path = Path(DEFAULT_SOCKET)) -> Path:
    """Of this machine's gateway; of the user's own where only that one is there."""
    own = user_socket(environ)
    return own if own.exists() and not system.exists() else system


def _base(environ: Mapping[str, str], variable: str, otherwise: str) -> Path:
    """Relative values do not count (XDG Base Directory Specification)."""
    given = environ.get(variable, "")
    if given.startswith("/"):
        return Path(given)
    home = environ.get("HOME", "")
    return (Path(home) if home.startswith("/") else Path.home()) / otherwise
