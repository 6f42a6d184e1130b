"""Settings of `waypost-derp` from flags and `waypost-derp.toml`; a flag wins over the file.

version = 1
names = ["192.0.2.10"]
port = 443
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from appliance.types.addresses import parse_addr_port
from appliance.types.errors import ConfigError, DecodeError
from control.derp.mesh import parse_mesh_peer
from control.derp.server import DerpLimits
from control.derp.throttle import byte_rate

VERSION = 1
DEFAULT_STATE_DIR = "/var/lib/waypost-derp"


@dataclass(frozen=True, slots=True)
class DerpSettings:
    """`certificate` and `private_key` name PEM files; without them the certificate is self-signed for `names`.

    `host` "" listens on all addresses of both IP versions. `stun_port` 0 turns STUN off. Whom `verify_url`,
    `verify_socket` (a node on this host) and `allow_file` (node keys) all admit, as far as they are set, may use the
    relay. `mesh_peers` are the other servers of the region, who know the same mesh key. Rates of 0 are no limits.
    `metrics` is the address and port of a page for Prometheus. `http_port` 80 is for captive-portal checks, 0 is off.
    """

    host: str = ""
    port: int = 443
    stun_port: int = 3478
    state_dir: str = DEFAULT_STATE_DIR
    names: tuple[str, ...] = ()
    certificate: str = ""
    private_key: str = ""
    plain: bool = False
    verify_url: str = ""
    verify_fail_open: bool = False
    verify_socket: str = ""
    allow_file: str = ""
    mesh_key_file: str = ""
    mesh_peers: tuple[str, ...] = ()
    mesh_ca_file: str = ""
    client_bytes_per_s: int = 0
    client_burst_bytes: int = 0
    total_bytes_per_s: int = 0
    total_burst_bytes: int = 0
    accepts_per_s: int = 2000
    max_connections: int = 60_000
    bootstrap_names: tuple[str, ...] = ()
    metrics: str = ""
    http_port: int = 0

    def limits(self) -> DerpLimits:
        """Rates for the server; the other caps keep their defaults."""
        return DerpLimits(
            connections=self.max_connections,
            accepts_per_s=float(self.accepts_per_s),
            client=byte_rate(self.client_bytes_per_s, self.client_burst_bytes),
            total=byte_rate(self.total_bytes_per_s, self.total_burst_bytes),
        )

    def check(self) -> None:
        """Raise `ConfigError` for what cannot work."""
        for name in ("port", "stun_port", "http_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise ConfigError(f"{name}: {getattr(self, name)} is no port", mend="give a number from 0 to 65535")
        if bool(self.certificate) != bool(self.private_key):
            raise ConfigError("certificate and private_key belong together", mend="give both or none")
        if not (self.certificate or self.names or self.plain):
            raise ConfigError(
                "names: a self-signed certificate needs the address or name by which nodes reach this server",
                mend="give --name, or --certificate and --private-key, or --plain behind a TLS proxy",
            )
        for name in ("client_bytes_per_s", "client_burst_bytes", "total_bytes_per_s", "total_burst_bytes"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}: {getattr(self, name)} is below 0", mend="give 0 for no limit")
        for name in ("accepts_per_s", "max_connections"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)} lets nobody in", mend="give 1 or more")
        if self.mesh_peers and not self.mesh_key_file:
            raise ConfigError("mesh_peers need a key", mend="set mesh_key_file, with the same key on every server")
        for text in self.mesh_peers:
            parse_mesh_peer(text)
        if self.metrics:
            try:
                parse_addr_port(self.metrics)
            except DecodeError:
                raise ConfigError(f"metrics: {self.metrics!r} is no address", mend="write 127.0.0.1:9471") from None
        if self.verify_url and not self.verify_url.startswith(("http://", "https://")):
            raise ConfigError(f"verify_url: {self.verify_url!r} is no URL", mend="begin it with https://")


def load_settings(file: Path | None, flags: Mapping[str, Any]) -> DerpSettings:
    """File, then flags that were given (not None). Raises `ConfigError`."""
    given = {name: value for name, value in flags.items() if value is not None}
    settings = replace(DerpSettings(), **(_read(file) if file is not None else {}) | given)
    settings.check()
    return settings


def _read(file: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}", mend="check the path and its owner") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}", mend="mend the TOML text there") from error
    if table.pop("version", None) != VERSION:
        raise ConfigError(f"{file}: version is missing or not {VERSION}", mend=f"write: version = {VERSION}")
    return {name: _checked(file, name, value) for name, value in table.items()}


def _checked(file: Path, name: str, value: Any) -> Any:
    default = {field.name: field.default for field in fields(DerpSettings)}
    if name not in default:
        raise ConfigError(f"{file}: {name} is no setting", mend=f"the settings are {', '.join(default)}")
    if default[name] == () and isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return tuple(value)
    if type(value) is not type(default[name]):
        raise ConfigError(
            f"{file}: {name} must be {_KINDS[type(default[name])]}", mend="see waypost-derp --help for its meaning"
        )
    return value


_KINDS: Mapping[type, str] = {str: "a string", int: "a number", bool: "true or false", tuple: "a list of strings"}
