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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.types.errors import ConfigError
from appliance.types.ids import RegionId
from control.cli.client import DEFAULT_SOCKET
from control.cli.config_sections import SERVER, ConfigProblem, SectionReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from control.server.settings import ServerSettings

VERSION = 1
DEFAULT_FILE = Path("/etc/waypost-control/waypost-control.toml")
DEFAULT_DATA_DIR = "/var/lib/waypost-control"
_FIELDS = {"tls_cert": "tls_certificate", "policy": "policy_file"}


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """Everything that `serve` needs."""

    server: ServerSettings
    socket: Path
    log_level: str


class ConfigProblemsError(ConfigError):
    """Everything that is wrong with the settings; the first of it is the error's own text."""

    def __init__(self, problems: list[ConfigProblem]) -> None:
        first, more = problems[0], len(problems) - 1
        text = first.text + (f" (and {more} more: waypost-control config check)" if more else "")
        super().__init__(text, mend=first.mend)
        self.problems = problems


def load_config(flags: Mapping[str, Any], file: Path | None) -> ServeConfig:
    """Flags (None = not given) over the file (None = the default place, if it exists). Raises `ConfigError`."""
    if file is None and DEFAULT_FILE.exists():
        file = DEFAULT_FILE
    sections: dict[str, Any] = {} if file is None else _read(file)
    server = sections.setdefault("server", {})
    for name, value in flags.items():
        if name == "database" and value is not None:
            check_no_password(value)
        if value is not None:
            server[name] = _parsed_flag(name, value)
    return _config(sections)


def check_no_password(url: str) -> None:
    """Every user of the machine can read arguments. Raises `ConfigError`."""
    if re.match(r"[a-z+]+://[^/@]*:[^/@]*@", url):
        mend = "leave it out and set PGPASSFILE, or write the URL to the config file"
        raise ConfigError("--database holds a password, which every user of this machine could read", mend=mend)


def _parsed_flag(name: str, value: Any) -> Any:
    try:
        return SERVER[name](value)
    except ValueError as error:
        place = "--" + name.replace("_", "-")
        raise ConfigProblemsError([ConfigProblem(place, f"{place}: {value!r} does not fit", str(error))]) from None


def _config(sections: dict[str, Any]) -> ServeConfig:
    from control.server.settings import ServerSettings

    values: dict[str, Any] = dict(sections["server"])
    socket = values.pop("socket", Path(DEFAULT_SOCKET))
    log_level = values.pop("log_level", "info")
    if not values.pop("derp", True):
        values["derp_host"] = None
    if "derp_region" in values:
        values["derp_region"] = RegionId(values["derp_region"])
    named = {_FIELDS.get(name, name): value for name, value in values.items()}
    named.setdefault("data_dir", Path(DEFAULT_DATA_DIR))
    settings = ServerSettings(**named)
    return ServeConfig(_with_sections(settings, sections), socket, log_level)


def _with_sections(settings: ServerSettings, sections: Mapping[str, Any]) -> ServerSettings:
    """What comes from the file only."""
    from control.mapper.settings import ClientRelease, DnsRecord, DnsSettings, MapSettings, Notice
    from control.tls.order import AcmeSettings

    derp_map = sections.get("derp_map", {})
    metrics = sections.get("metrics", {})
    tls = {name: value for name, value in sections.get("tls", {}).items() if name != "accept_terms"}
    command = sections.get("certificates", {}).get("set_dns_command", ())
    records = tuple(DnsRecord(**record) for record in sections.get("dns.records", ()))
    return replace(
        settings,
        derp_map_urls=derp_map.get("urls", ()),
        derp_map_files=derp_map.get("files", ()),
        derp_map_refresh_s=derp_map.get("refresh", settings.derp_map_refresh_s),
        set_dns_command=command,
        acme=AcmeSettings(directory=tls.pop("acme"), **tls) if tls else None,
        token_audiences=sections.get("id_tokens", {}).get("audiences", ()),
        country_file=sections.get("posture", {}).get("countries"),
        metrics_listen=metrics.get("listen"),
        metrics_token_file=metrics.get("token_file"),
        map_settings=MapSettings(
            dns=DnsSettings(**sections.get("dns", {}), records=records),
            stock=ClientRelease(**sections.get("clients", {})),
            gateways=ClientRelease(**sections.get("gateways", {})),
            notices=tuple(Notice(**notice) for notice in sections.get("notices", ())),
            certificates=bool(command),
        ),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}", mend="check the path given with --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}", mend="the file must be TOML in UTF-8") from error
    reader = SectionReader()
    if document.get("version") != VERSION:
        shown = document.get("version", "missing")
        reader.problems.append(ConfigProblem("version", f"version is {shown}", f"write version = {VERSION} at the top"))
    found = reader.read(document)
    if reader.problems:
        placed = [ConfigProblem(one.place, f"{file}: {one.text}", one.mend) for one in reader.problems]
        raise ConfigProblemsError(placed)
    return found
