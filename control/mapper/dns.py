"""The DNS configuration of a node's map (control-protocol spec section 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.proto.control import messages as wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from control.mapper.settings import DnsSettings

_V4_ZONES = [f"{second}.100.in-addr.arpa" for second in range(64, 128)]
_V6_ZONE = "0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa"


def dns_config(
    domain: str,
    settings: DnsSettings,
    cert_domains: Iterable[str] = (),
    connectors: Mapping[str, list[wire.Resolver]] | None = None,
) -> wire.DnsConfig:
    """MagicDNS for the tailnet's domain and the reverse zones of the overlay, what the operator adds, and the names
    that `connectors` look up: the operator's own resolvers for a suffix come before theirs."""
    config = wire.DnsConfig(
        proxied=settings.magic,
        domains=[domain, *settings.search] if settings.magic else list(settings.search),
        routes={
            **(connectors or {}),
            **{suffix: _resolvers(found, settings) for suffix, found in settings.split.items()},
        },
        extra_records=[wire.DnsRecord(name=one.name, type=one.type, value=one.value) for one in settings.records],
        exit_node_filtered_set=list(settings.exit_filtered),
        cert_domains=list(cert_domains),
    )
    if settings.magic:
        config.routes |= {zone: [] for zone in (domain, *_V4_ZONES, _V6_ZONE)}
    resolvers = _resolvers(settings.nameservers, settings)
    if settings.override_local:
        config.resolvers = resolvers
    else:
        config.fallback_resolvers = resolvers
    return config


def _resolvers(addresses: Iterable[str], settings: DnsSettings) -> list[wire.Resolver]:
    return [wire.Resolver(addr=addr, use_with_exit_node=settings.use_with_exit_node) for addr in addresses]
