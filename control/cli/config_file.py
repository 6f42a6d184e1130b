"""The server's settings from flags and `waypost-control.toml`; a flag wins over the file.

The file is checked as a whole before anything starts:

    version = 1
    [server]
    domain = "mesh.internal"
    listen = "0.0.0.0:8080"
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.types.addresses import AddrPort, parse_addr_port
from appliance.types.errors import ConfigError, DecodeError
from appliance.types.ids import RegionId
from control.cli.client import DEFAULT_SOCKET
from control.cli.logs import LEVELS
from control.cli.options import NEVER, parse_duration
from control.policy.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from control.server.settings import ServerSettings

VERSION = 1
DEFAULT_FILE = Path("/etc/waypost-control/waypost-control.toml")
DEFAULT_DATA_DIR = "/var/lib/waypost-control"


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """Everything that `serve` needs."""

    server: ServerSettings
    socket: Path
    log_level: str


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("write a string in quotes")
    return value


def _path(value: Any) -> Path:
    return Path(_text(value))


def _listen(value: Any) -> AddrPort:
    try:
        return parse_addr_port(_text(value))
    except DecodeError:
        raise ValueError("write an address and a port, as 0.0.0.0:8080 or [::]:8080") from None


def _listen_or_none(value: Any) -> AddrPort | None:
    return None if value == "none" else _listen(value)


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if type(value) is int and low <= value <= high:
            return value
        raise ValueError(f"write a whole number from {low} to {high}")

    return parse


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("write true or false")
    return value


def _life(value: Any) -> timedelta | None:
    seconds = parse_duration(_text(value))
    return None if seconds == NEVER else timedelta(seconds=seconds)


def _level(value: Any) -> str:
    if value not in LEVELS:
        raise ValueError(f"write one of {', '.join(LEVELS)}")
    return str(value)


KEYS: dict[str, Callable[[Any], Any]] = {
    "data_dir": _path,
    "database": _text,
    "noise_key": _path,
    "listen": _listen,
    "url": _text,
    "domain": _text,
    "tls_cert": _path,
    "tls_key": _path,
    "tls_fallback": _listen_or_none,
    "derp": _flag,
    "derp_host": _text,
    "derp_listen": _listen,
    "derp_region": _whole(1, 65535),
    "stun_port": _whole(0, 65535),
    "policy": _path,
    "key_expiry": _life,
    "socket": _path,
    "log_level": _level,
}
_FIELDS = {"tls_cert": "tls_certificate", "policy": "policy_file"}


def load_config(flags: Mapping[str, Any], file: Path | None) -> ServeConfig:
    """Flags (None = not given) over the file (None = the default place, if it exists). Raises `ConfigError`."""
    if file is None and DEFAULT_FILE.exists():
        file = DEFAULT_FILE
    values: dict[str, Any] = {} if file is None else _read(file)
    for name, value in flags.items():
        if name == "database" and value is not None:
            check_no_password(value)
        if value is not None:
            flag = "--" + name.replace("_", "-")
            values[name] = _parsed(name, value, flag)
    return _config(values)


def check_no_password(url: str) -> None:
    """Every user of the machine can read arguments. Raises `ConfigError`."""
    if re.match(r"[a-z+]+://[^/@]*:[^/@]*@", url):
        mend = "leave it out and set PGPASSFILE, or write the URL to the config file"
        raise ConfigError("--database holds a password, which every user of this machine could read", mend=mend)


def _config(values: dict[str, Any]) -> ServeConfig:
    from control.server.settings import ServerSettings

    socket = values.pop("socket", Path(DEFAULT_SOCKET))
    log_level = values.pop("log_level", "info")
    if not values.pop("derp", True):
        values["derp_host"] = None
    if "derp_region" in values:
        values["derp_region"] = RegionId(values["derp_region"])
    named = {_FIELDS.get(name, name): value for name, value in values.items()}
    named.setdefault("data_dir", Path(DEFAULT_DATA_DIR))
    return ServeConfig(ServerSettings(**named), socket, log_level)


def _read(file: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}", mend="check the path given with --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}", mend="the file must be TOML in UTF-8") from error
    if document.get("version") != VERSION:
        shown = document.get("version", "missing")
        raise ConfigError(f"{file}: version is {shown}", mend=f"write version = {VERSION} at the top")
    section = document.get("server", {})
    _check_names(f"{file}: ", document, ("version", "server"))
    if not isinstance(section, dict):
        raise ConfigError(f"{file}: server is not a section", mend="write [server]")
    _check_names(f"{file}: server.", section, tuple(KEYS))
    return {name: _parsed(name, value, f"{file}: server.{name}") for name, value in section.items()}


def _check_names(place: str, found: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in found:
        if name not in known:
            mend = did_you_mean(name, known) or f"known here: {', '.join(known)}"
            raise ConfigError(f"{place}{name} is not a setting", mend=mend)


def _parsed(name: str, value: Any, place: str) -> Any:
    try:
        return KEYS[name](value)
    except ValueError as error:
        raise ConfigError(f"{place}: {value!r} does not fit", mend=str(error)) from None
