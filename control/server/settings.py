"""Settings of `waypost-control serve`; defaults are those of one small server on one machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.types.addresses import AddrPort
from appliance.types.errors import ConfigError
from appliance.types.ids import RegionId
from control.state.engines import database_url

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

    listen: front listener; plain HTTP, or TLS when both files are given.
    derp_host: name or address under which nodes reach the embedded relay; further addresses of the same host may
        follow after commas (one per IP version counts); "" = this host's own address, None = no relay. With TLS files
        the relay answers on the front listener and the name must be in the certificate.
    tls_fallback: where a plain front listener answers over TLS too, self-signed, for stock clients; None = nowhere.
    derp_listen: the relay's own TLS listener (self-signed, pinned) when the front listener is plain HTTP.
    stun_port: UDP port beside the relay; 0 = none.
    url: where people's browsers find this server; "" = made of the relay's host or this host's address.
    domain: DNS suffix of all nodes. policy_file: read at every start; None = the stored policy stays.
    key_expiry: life of node keys of untagged nodes; None = for ever.
    database: URL of the database; "" = a SQLite file in `data_dir`.
    noise_key: the server's own key, taken over from another server or process; None = the one in `data_dir`.
    """

    data_dir: Path
    listen: AddrPort = DEFAULT_LISTEN
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_fallback: AddrPort | None = DEFAULT_TLS_FALLBACK
    derp_host: str | None = ""
    derp_listen: AddrPort = DEFAULT_DERP_LISTEN
    derp_region: RegionId = FIRST_OWN_REGION
    stun_port: int = 3478
    domain: str = DEFAULT_DOMAIN
    policy_file: Path | None = None
    key_expiry: timedelta | None = None
    url: str = ""
    database: str = ""
    noise_key: Path | None = None

    def __post_init__(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError(
                "a TLS certificate needs its key and the other way round", mend="give both --tls-cert and --tls-key"
            )
        if self.url and not _URL.fullmatch(self.url):
            raise ConfigError(f"{self.url!r} is no URL of a server", mend="write it like https://control.example")
        if self.database:
            database_url(self.database)
        labels = self.domain.split(".")
        if not all(label and len(label) <= 63 and label.strip("-").isascii() for label in labels):
            raise ConfigError(f"{self.domain!r} is no domain", mend="use a DNS name such as mesh.internal")
