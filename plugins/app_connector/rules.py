"""Pure: from answers of a resolver to routes of apps, and their age (apps spec 7.3 to 7.5). Times are Unix seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from appliance.api import DnsAnswer
from appliance.types.addresses import CGNAT_V4, ULA_V6, Address, Prefix
from plugins.app_connector.apps import App, app_of

MIN_LIFE_S = 24 * 3600.0
TTL_FACTOR = 10
MAX_ALIASES = 16
MAX_SOURCES = 16
"""Names remembered for one address."""
VERSION = 1

Source = tuple[str, str]
"""Which app and name an address was learned for."""


@dataclass
class LearnedRoutes:
    """At most `per_app` addresses each; the one that was not seen longest goes."""

    per_app: int = 1000
    life_s: float = MIN_LIFE_S
    only_v4: bool = False
    addresses: dict[Address, dict[Source, float]] = field(default_factory=dict)
    """In the order in which they were last seen, like the sources of each, with the time until which they count."""
    hits: dict[str, int] = field(default_factory=dict)
    """Addresses seen in answers, by app."""

    def observe(self, answer: DnsAnswer, apps: Iterable[App], near: Iterable[Prefix], now: float) -> bool:
        """Learn from an answer; whether the set of routes changed. `near`: this site's own prefixes, never learned."""
        aliases = {target: owner for owner, target in answer.aliases}
        changed = False
        for owner, text, ttl in answer.addresses:
            found = _owner(owner, aliases, apps)
            address = ip_address(text)
            if found is None or not self._usable(address, near):
                continue
            app, domain = found
            self.hits[app.name] = self.hits.get(app.name, 0) + 1
            changed |= address not in self.addresses
            self._note(address, (app.name, domain), now + max(self.life_s, TTL_FACTOR * ttl))
            changed |= self._shorten(app.name)
        return changed

    def _note(self, address: Address, source: Source, until: float) -> None:
        sources = self.addresses.pop(address, {})
        sources.pop(source, None)
        sources[source] = until
        if len(sources) > MAX_SOURCES:
            del sources[next(iter(sources))]
        self.addresses[address] = sources

    def _usable(self, address: Address, near: Iterable[Prefix]) -> bool:
        if self.only_v4 and address.version == 6:
            return False
        if address.is_loopback or address.is_multicast or address.is_link_local or address.is_unspecified:
            return False
        return not any(address in prefix for prefix in (CGNAT_V4, ULA_V6, *near))

    def _shorten(self, app: str) -> bool:
        mine = [address for address, sources in self.addresses.items() if any(name == app for name, _ in sources)]
        surplus = frozenset(mine[: max(0, len(mine) - self.per_app)])
        return bool(surplus) and self._forget(lambda address, source, _: address in surplus and source[0] == app)

    def age(self, now: float) -> bool:
        """Forget what was not seen for too long; whether an address went."""
        return self._forget(lambda _address, _source, until: until <= now)

    def keep_only(self, apps: Iterable[App]) -> bool:
        """Forget what belongs to no app any more; whether an address went."""
        known = {app.name: app for app in apps}
        return self._forget(lambda _address, source, _: source[0] not in known or not known[source[0]].has(source[1]))

    def _forget(self, is_gone: Callable[[Address, Source, float], bool]) -> bool:
        """An address goes with its last source; whether one went."""
        before = len(self.addresses)
        for address, sources in list(self.addresses.items()):
            for source in [each for each, until in sources.items() if is_gone(address, each, until)]:
                del sources[source]
            if not sources:
                del self.addresses[address]
        return len(self.addresses) < before

    def routes(self, apps: Iterable[App]) -> tuple[str, ...]:
        """Presets of the apps, and single addresses that no preset covers."""
        presets = [ip_network(text) for app in apps for text in app.routes]
        single = [each for each in self.addresses if not any(each in prefix for prefix in presets)]
        found: set[Prefix] = {*presets, *(ip_network(each) for each in single)}
        ordered = sorted(found, key=lambda each: (each.version, int(each.network_address), each.prefixlen))
        return tuple(map(str, ordered))

    def by_app(self) -> Mapping[str, int]:
        """Addresses of each app; one that two apps share counts for both."""
        counted: dict[str, int] = {}
        for sources in self.addresses.values():
            for app in {name for name, _ in sources}:
                counted[app] = counted.get(app, 0) + 1
        return counted

    def by_domain(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for address, sources in self.addresses.items():
            for domain in dict.fromkeys(domain for _, domain in sources):
                found.setdefault(domain, []).append(str(address))
        return found

    # what is kept over restarts

    def dump(self) -> bytes:
        rows = [
            [str(address), app, domain, until]
            for address, sources in self.addresses.items()
            for (app, domain), until in sources.items()
        ]
        return json.dumps({"version": VERSION, "addresses": rows}).encode()

    def load(self, data: bytes) -> None:
        """What cannot be read counts as nothing: it is learned again."""
        self.addresses = {}
        try:
            stored: Any = json.loads(data)
            rows = stored["addresses"] if stored["version"] == VERSION else []
            for address, app, domain, until in rows:
                self._note(ip_address(address), (str(app), str(domain)), float(until))
        except (ValueError, KeyError, TypeError):
            self.addresses = {}


def _owner(owner: str, aliases: Mapping[str, str], apps: Iterable[App]) -> tuple[App, str] | None:
    """The app that an address belongs to: by its owner's name, or by a name that points there through aliases."""
    name = owner
    for _ in range(MAX_ALIASES):
        app = app_of(apps, name)
        if app is not None:
            return app, name
        if name not in aliases:
            return None
        name = aliases[name]
    return None
