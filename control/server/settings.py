"""Settings of `waypost-control serve`; defaults are those of one small server on one machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

from appliance.types.addresses import AddrPort
from appliance.types.errors import ConfigError
from appliance.types.ids import RegionId
from control.mapper.settings import MapSettings
from control.state.engines import database_url
from control.tls.order import AcmeSettings

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?")
DEFAULT_DOMAIN = "mesh.internal"
FIRST_OWN_REGION = RegionId(900)
"""900 to 999 are for own relays (derp spec section 6)."""
DEFAULT_LISTEN = AddrPort("::", 8080)
DEFAULT_DERP_LISTEN = AddrPort("::", 8443)
DEFAULT_TLS_FALLBACK = AddrPort("::", 443)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What one process serves, and where.

    listen: front listener; plain HTTP, or TLS when both files are given or `acme` says which authority gives them.
    derp_host: name or address under which nodes reach the embedded relay; further addresses of the same host may
        follow after commas (one per IP version counts); "" = this host's own address, None = no relay. Where
        the front speaks TLS the relay answers there, and the name must be in the certificate.
    tls_fallback: where a plain front listener answers over TLS too, self-signed, for stock clients; None = nowhere.
    derp_listen: the relay's own TLS listener (self-signed, pinned) when the front listener is plain HTTP.
    derp_client_rate, derp_total_rate: bytes a second that one node, and all together, may send through it; 0 = any.
    stun_port: UDP port beside the relay; 0 = none.
    url: where people's browsers find this server; "" = made of the relay's host or this host's address.
    domain: DNS suffix of all nodes. policy_file: read at every start; None = the stored policy stays.
    key_expiry: life of node keys of untagged nodes; None = for ever.
    database: URL of the database; "" = a SQLite file in `data_dir`.
    random_addresses: new nodes get addresses from a random place of the pool.
    noise_key: the server's own key, taken over from another server or process; None = the one in `data_dir`.
    derp_map_urls, derp_map_files: further regions, asked again every `derp_map_refresh_s`.
    map_settings: DNS, notices and versions that all nodes are told of.
    set_dns_command, token_audiences: see `ServiceSettings`.
    country_file: see `ServiceSettings`.
    metrics_listen: where Prometheus reads; off loopback only with `metrics_token_file`, whose text it must present.
    """

    data_dir: Path
    listen: AddrPort = DEFAULT_LISTEN
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    acme: AcmeSettings | None = None
    tls_fallback: AddrPort | None = DEFAULT_TLS_FALLBACK
    derp_host: str | None = ""
    derp_listen: AddrPort = DEFAULT_DERP_LISTEN
    derp_region: RegionId = FIRST_OWN_REGION
    derp_client_rate: int = 0
    derp_total_rate: int = 0
    stun_port: int = 3478
    domain: str = DEFAULT_DOMAIN
    policy_file: Path | None = None
    key_expiry: timedelta | None = None
    url: str = ""
    database: str = ""
    noise_key: Path | None = None
    random_addresses: bool = False
    derp_map_urls: tuple[str, ...] = ()
    derp_map_files: tuple[Path, ...] = ()
    derp_map_refresh_s: float = 3 * 3600.0
    map_settings: MapSettings = field(default_factory=MapSettings)
    set_dns_command: tuple[str, ...] = ()
    token_audiences: tuple[str, ...] = ()
    country_file: Path | None = None
    metrics_listen: AddrPort | None = None
    metrics_token_file: Path | None = None

    def __post_init__(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError(
                "a TLS certificate needs its key and the other way round", mend="give both --tls-cert and --tls-key"
            )
        if self.acme is not None and self.tls_certificate is not None:
            raise ConfigError(
                "the certificate cannot come from files and from an authority",
                mend="leave out server.tls_cert and server.tls_key, or tls.acme",
            )
        if self.url and not _URL.fullmatch(self.url):
            raise ConfigError(f"{self.url!r} is no URL of a server", mend="write it like https://control.example")
        if self.database:
            database_url(self.database)
        labels = self.domain.split(".")
        if not all(label and len(label) <= 63 and label.strip("-").isascii() for label in labels):
            raise ConfigError(f"{self.domain!r} is no domain", mend="use a DNS name such as mesh.internal")
        if (
            self.metrics_listen is not None
            and self.metrics_token_file is None
            and not _is_loopback(self.metrics_listen)
        ):
            raise ConfigError(
                f"metrics.listen: {self.metrics_listen} is open to others",
                mend="listen on 127.0.0.1 or [::1], or give metrics.token_file",
            )

    @property
    def has_tls(self) -> bool:
        """Whether the front listener speaks TLS."""
        return self.tls_certificate is not None or self.acme is not None


def _is_loopback(listen: AddrPort) -> bool:
    return ip_address(listen.ip).is_loopback
