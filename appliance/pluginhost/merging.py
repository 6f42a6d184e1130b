"""How contributions of several plugins become one. The earlier plugin keeps a thing; conflicts are reported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Protocol

from appliance.api.values import (
    EgressGuard,
    EgressUplink,
    FirewallPart,
    HostinfoPart,
    HostinfoService,
    Metric,
    PrefixTranslation,
    TrafficShape,
)
from appliance.types.addresses import Prefix, known_prefix, parse_addr_port
from appliance.types.location import Location
from appliance.types.senders import parse_senders


class ConflictSink(Protocol):
    def conflicts(self, kind: str, found: Sequence[tuple[str, str, str]]) -> None:
        """All present conflicts over things of that kind: (thing, plugin that has it, plugin that wants it)."""
        ...


def merge_hostinfo(parts: Sequence[tuple[str, HostinfoPart | None]], sink: ConflictSink) -> HostinfoPart:
    services, flags = _Owned("hostinfo service"), _Owned("hostinfo flag")
    by_port: dict[str, HostinfoService] = {}
    merged: dict[str, bool] = {}
    keys: list[str] = []
    exit_node = ""
    location: Location | None = None
    for name, part in parts:
        if part is None:
            continue
        if part.location is not None and (location == part.location or flags.take(name, "Location")):
            location = part.location
        if part.exit_node and (exit_node == part.exit_node or flags.take(name, "ExitNodeID")):
            exit_node = part.exit_node
        for service in part.services:
            place = f"{service.proto} {service.port}"
            if by_port.get(place) == service or services.take(name, place):
                by_port[place] = service
        for flag, value in part.flags.items():
            if merged.get(flag) == value or flags.take(name, flag):
                merged[flag] = value
        keys.extend(key for key in part.ssh_host_keys if key not in keys)
    services.report(sink)
    flags.report(sink)
    return HostinfoPart(tuple(by_port.values()), tuple(keys), merged, exit_node, location)


def merge_routes(parts: Sequence[tuple[str, Sequence[str]]], sink: ConflictSink) -> tuple[str, ...]:
    owned = _Owned("route")
    routes: set[Prefix] = set()
    for name, prefixes in parts:
        routes.update(known_prefix(prefix) for prefix in prefixes if owned.take(name, prefix))
    owned.report(sink)
    return tuple(str(prefix) for prefix in sorted(routes, key=_by_family))


def check_firewall(part: FirewallPart) -> None:
    """Raises ValueError and `DecodeError` for text that the core could not read."""
    guard = part.guard or EgressGuard()
    translated = [prefix for each in part.translations for prefix in (each.inside, each.outside)]
    shaped = [prefix for each in part.shapes for prefix in each.destinations]
    for prefix in (*part.forwarded, *guard.direct, *translated, *shaped):
        known_prefix(prefix)
    parse_senders((*guard.hosts, *guard.not_hosts))
    for address in part.service_addresses:
        ip_address(address)
    for place in part.uplink.resolvers if part.uplink is not None else ():
        parse_addr_port(place)


def merge_firewall(parts: Sequence[tuple[str, FirewallPart | None]], sink: ConflictSink) -> FirewallPart:
    owned = _Owned("firewall")
    forwarded: dict[str, None] = {}
    services: dict[str, None] = {}
    snat: bool | None = None
    guard: EgressGuard | None = None
    translations: dict[str, PrefixTranslation] = {}
    shapes: list[TrafficShape] = []
    uplink: EgressUplink | None = None
    for name, part in parts:
        if part is None:
            continue
        forwarded.update(dict.fromkeys(part.forwarded))
        services.update(dict.fromkeys(each for each in part.service_addresses if owned.take(name, each)))
        translations.update((each.outside, each) for each in part.translations if owned.take(name, each.outside))
        shapes += [each for each in part.shapes if not each.name or owned.take(name, f"limit {each.name}")]
        if part.snat is not None and (snat == part.snat or owned.take(name, "SNAT")):
            snat = part.snat
        if part.guard is not None and (guard == part.guard or owned.take(name, "guard")):
            guard = part.guard
        if part.uplink is not None and (uplink == part.uplink or owned.take(name, "exit uplink")):
            uplink = part.uplink
    owned.report(sink)
    translated, shaped = tuple(translations.values()), tuple(shapes)
    return FirewallPart(tuple(forwarded), snat, guard, tuple(services), translated, shaped, uplink)


def merge_metrics(parts: Iterable[tuple[str, Sequence[Metric]]]) -> tuple[Metric, ...]:
    merged: dict[tuple[str, tuple[tuple[str, str], ...]], Metric] = {}
    for _, metrics in parts:
        for metric in metrics:
            merged.setdefault((metric.name, tuple(sorted(metric.labels.items()))), metric)
    return tuple(merged.values())


class _Owned:
    """Who has which thing of one kind, during one merge."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._owners: dict[str, str] = {}
        self._conflicts: list[tuple[str, str, str]] = []

    def take(self, plugin: str, thing: str) -> bool:
        """Whether the plugin has it now."""
        owner = self._owners.setdefault(thing, plugin)
        if owner != plugin:
            self._conflicts.append((thing, owner, plugin))
        return owner == plugin

    def report(self, sink: ConflictSink) -> None:
        sink.conflicts(self._kind, self._conflicts)


def _by_family(prefix: Prefix) -> tuple[int, int, int]:
    return prefix.version, int(prefix.network_address), prefix.prefixlen
