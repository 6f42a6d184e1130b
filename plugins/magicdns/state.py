"""What the plugin knows, as one value that the panel, the health checks and the metrics are made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address

from appliance.api import DnsSettings, NodeInfo, ResolverWay
from plugins.magicdns.config import MagicDnsConfig


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """`latency_s` 0: not known. `route` "" is for all names."""

    name: str
    route: str = ""
    asked: int = 0
    answered: int = 0
    failed: int = 0
    latency_s: float = 0.0
    error: str = ""
    untrusted: bool = False
    looping: bool = False


@dataclass(frozen=True, slots=True)
class OsState:
    """How the host's programs come here. `way` None: they do not. `error` says why that is not as wished."""

    way: ResolverWay | None = None
    search: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    error: str = ""
    mend: str = ""
    code: str = ""
    overwritten: int = 0
    """How often somebody else has written over our setting lately."""


@dataclass(frozen=True, slots=True)
class DnsState:
    """`own` None: not in a mesh. `listening` are places; `refused` those that could not be had, with the reason."""

    config: MagicDnsConfig = field(default_factory=MagicDnsConfig)
    own: NodeInfo | None = None
    dns: DnsSettings = field(default_factory=DnsSettings)
    listening: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    upstreams: tuple[UpstreamState, ...] = ()
    wrong_resolvers: tuple[str, ...] = ()
    """Of control's, those that cannot be used."""
    wrong_records: tuple[str, ...] = ()
    os: OsState = OsState()
    failing_s: float = 0.0
    ca_problem: str = ""
    """Why `config.ca_file` cannot be used."""
    counters: dict[str, int] = field(default_factory=dict)
    cached_entries: int = 0
    names: int = 0

    def versions(self) -> frozenset[int]:
        """IP versions of this node's own addresses."""
        return (
            frozenset(ip_address(text).version for text in self.own.addresses) if self.own is not None else frozenset()
        )
