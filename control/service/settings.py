"""What the service must be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from appliance.types.netmap import DerpMap

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """`domain` is the tailnet's DNS domain, the suffix of all node names, without dots at its ends.

    url: where people's browsers find this server, as https://control.example, without a slash at its end.
    key_expiry: life of node keys of untagged nodes; None = for ever.
    ephemeral_timeout_s: an ephemeral node is deleted after this much silence.
    online_grace_s: a node stays online this long after its last map stream closed.
    random_addresses: new nodes get addresses from a random place of the pool instead of the next ones.
    flush_interval_s: endpoints and last-seen times are written this seldom; identity is written at once.
    set_dns_command: program and arguments that publish a TXT record, name and value follow; () = none.
    country_file: MaxMind DB that tells the country of addresses, for `ip:country` in postures; None = none.
    token_audiences: for whom nodes may get identity tokens; `*` = anybody, () = no tokens.
    """

    domain: str
    derp_map: DerpMap = field(default_factory=DerpMap)
    url: str = "http://localhost:8080"
    key_expiry: timedelta | None = None
    ephemeral_timeout_s: float = 120.0
    online_grace_s: float = 10.0
    flush_interval_s: float = 60.0
    random_addresses: bool = False
    set_dns_command: tuple[str, ...] = ()
    token_audiences: tuple[str, ...] = ()
    country_file: Path | None = None
