"""Pure: from answers of a resolver to routes of apps, and their age (apps spec 7.3 to 7.5). Times are Unix seconds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from appliance.api import DnsAnswer
from appliance.types.addresses import CGNAT_V4, ULA_V6, Address, Prefix
from plugins.app_connector.apps import App, app_of

MIN_LIFE_S = 24 * 3600.0
TTL_FACTOR = 10
MAX_ALIASES = 16
VERSION = 1


@dataclass(slots=True)
class Learned:
    """Which app and name an address was learned for, and until when it is kept."""

    app: str
    domain: str
    until: float


@dataclass
class LearnedRoutes:
    """At most `per_app` addresses each; the one that was not seen longest goes."""

    per_app: int = 1000
    life_s: float = MIN_LIFE_S
    only_v4: bool = False
    addresses: dict[Address, Learned] = field(default_factory=dict)
    """In the order in which they were last seen."""
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
            self.addresses.pop(address, None)
            self.addresses[address] = Learned(app.name, domain, now + max(self.life_s, TTL_FACTOR * ttl))
            changed |= self._shorten(app.name)
        return changed

    def _usable(self, address: Address, near: Iterable[Prefix]) -> bool:
        if self.only_v4 and address.version == 6:
            return False
        if address.is_loopback or address.is_multicast or address.is_link_local or address.is_unspecified:
            return False
        return not any(address in prefix for prefix in (CGNAT_V4, ULA_V6, *near))

    def _shorten(self, app: str) -> bool:
        mine = [address for address, learned in self.addresses.items() if learned.app == app]
        for address in mine[: max(0, len(mine) - self.per_app)]:
            del self.addresses[address]
        return len(mine) > self.per_app

    def age(self, now: float) -> bool:
        """Forget what was not seen for too long; whether the set changed."""
        old = [address for address, learned in self.addresses.items() if learned.until <= now]
        for address in old:
            del self.addresses[address]
        return bool(old)

    def keep_only(self, apps: Iterable[App]) -> bool:
        """Forget what belongs to no app any more; whether the set changed."""
        known = {app.name: app for app in apps}
        gone = [
            address
            for address, learned in self.addresses.items()
            if learned.app not in known or not known[learned.app].has(learned.domain)
        ]
        for address in gone:
            del self.addresses[address]
        return bool(gone)

    def routes(self, apps: Iterable[App]) -> tuple[str, ...]:
        """Presets of the apps, and single addresses that no preset covers."""
        presets = [ip_network(text) for app in apps for text in app.routes]
        single = [each for each in self.addresses if not any(each in prefix for prefix in presets)]
        found: set[Prefix] = {*presets, *(ip_network(each) for each in single)}
        ordered = sorted(found, key=lambda each: (each.version, int(each.network_address), each.prefixlen))
        return tuple(map(str, ordered))

    def by_app(self) -> Mapping[str, int]:
        counted: dict[str, int] = {}
        for learned in self.addresses.values():
            counted[learned.app] = counted.get(learned.app, 0) + 1
        return counted

    # what is kept over restarts

    def dump(self) -> bytes:
        rows = [[str(address), each.app, each.domain, each.until] for address, each in self.addresses.items()]
        return json.dumps({"version": VERSION, "addresses": rows}).encode()

    def load(self, data: bytes) -> None:
        """What cannot be read counts as nothing: it is learned again."""
        try:
            stored: Any = json.loads(data)
            rows = stored["addresses"] if stored["version"] == VERSION else []
            self.addresses = {
                ip_address(address): Learned(str(app), str(domain), float(until))
                for address, app, domain, until in rows
            }
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
