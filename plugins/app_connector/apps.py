"""Pure: apps, their domains and preset prefixes, from the policy and from the settings (apps spec 7.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from appliance.types.addresses import CGNAT_V4, ULA_V6, Prefix

CAPABILITY = "tailscale.com/app-connectors"
"""Under this name the policy lists apps for connectors."""
ANY_CONNECTOR = "*"
MAX_APPS, MAX_DOMAINS, MAX_ROUTES = 200, 1000, 1000
_NEVER = tuple(map(ip_network, ("127.0.0.0/8", "224.0.0.0/4", "169.254.0.0/16", "::1/128", "ff00::/8", "fe80::/10")))


@dataclass(frozen=True, slots=True)
class App:
    """`domains` are exact names; `wildcards` the names below which everything counts, not they themselves."""

    name: str
    domains: frozenset[str] = frozenset()
    wildcards: frozenset[str] = frozenset()
    routes: tuple[str, ...] = ()

    def has(self, name: str) -> bool:
        if name in self.domains:
            return True
        above = name.partition(".")[2]
        while above:
            if above in self.wildcards:
                return True
            above = above.partition(".")[2]
        return False


def make_app(name: str, domains: Iterable[str], routes: Iterable[str]) -> App:
    """Raises ValueError with the entry that is no domain or no prefix."""
    exact: set[str] = set()
    wild: set[str] = set()
    for text in domains:
        plain = text.strip().rstrip(".").lower()
        star = plain.startswith("*.")
        bare = plain[2:] if star else plain
        if not is_domain(bare):
            raise ValueError(text)
        (wild if star else exact).add(bare)
    prefixes = sorted({usable_prefix(text) for text in routes}, key=lambda each: (each.version, each))
    return App(name, frozenset(exact), frozenset(wild), tuple(map(str, prefixes)))


def is_domain(text: str) -> bool:
    labels = text.split(".")
    return len(text) <= 253 and all(
        0 < len(label) <= 63 and label.replace("-", "").replace("_", "").isalnum() and label.isascii()
        for label in labels
    )


def usable_prefix(text: str) -> Prefix:
    """Raises ValueError for what cannot be offered as an app's route."""
    prefix = ip_network(text.strip())
    if prefix.prefixlen == 0 or any(map(prefix.overlaps, _never())):
        raise ValueError(text)
    return prefix


def _never() -> tuple[Prefix, ...]:
    return (*_NEVER, CGNAT_V4, ULA_V6)


def from_policy(values: Sequence[Any], tags: Iterable[str]) -> tuple[tuple[App, ...], tuple[str, ...]]:
    """Apps of which this node is a connector, and the names of those that make no sense."""
    mine = {ANY_CONNECTOR, *tags}
    found: list[App] = []
    wrong: list[str] = []
    for value in values[:MAX_APPS]:
        if not isinstance(value, Mapping):
            wrong.append("an entry that is no object")
            continue
        name = str(value.get("name") or "app")[:64]
        try:
            connectors = _texts(value.get("connectors"))
            if mine.intersection(connectors):
                domains, routes = _texts(value.get("domains")), _texts(value.get("routes"))
                found.append(make_app(name, domains[:MAX_DOMAINS], routes[:MAX_ROUTES]))
        except ValueError:
            wrong.append(name)
    return tuple(found), tuple(wrong)


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError("not a list of texts")
    return value


def app_of(apps: Iterable[App], name: str) -> App | None:
    return next((app for app in apps if app.has(name)), None)
