"""Pure: limits on what this gateway sends to a peer or a network, written `TARGET RATE`, such as `gateway-b 20mbit`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from appliance.api import NodeInfo, TrafficShape
from plugins.subnet_router.errors import RouteSettingError

KEY = "limits"
MAX_LIMITS = 100
SLOWEST_KBIT, FASTEST_KBIT = 8, 10_000_000
_UNITS = {"kbit": 1, "mbit": 1000, "gbit": 1_000_000}
_RATE = re.compile(r"(\d{1,8})(kbit|mbit|gbit)")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_MEND = "write it like 'gateway-b 20mbit' or '10.8.1.0/24 500kbit'"


@dataclass(frozen=True, slots=True)
class Limit:
    """`target` is a prefix or a peer's name, short or whole."""

    target: str
    rate_kbit: int

    @property
    def is_peer(self) -> bool:
        return "/" not in self.target

    def __str__(self) -> str:
        return f"{self.target} {rate_text(self.rate_kbit)}"


def parse_limits(texts: Sequence[str]) -> tuple[Limit, ...]:
    """Raises `RouteSettingError` naming the entry."""
    found: dict[str, Limit] = {}
    for index, text in enumerate(texts):
        limit = _parse(index, text)
        if limit.target in found:
            mend = "give each target once"
            raise RouteSettingError(index, f"{limit.target} is limited already", key=KEY, mend=mend)
        found[limit.target] = limit
    return tuple(found.values())


def _parse(index: int, text: str) -> Limit:
    words = text.lower().split()
    rate = _RATE.fullmatch(words[1]) if len(words) == 2 else None
    if rate is None:
        raise RouteSettingError(index, f"{text[:64]!r} is no limit", key=KEY, mend=_MEND)
    kbit = int(rate[1]) * _UNITS[rate[2]]
    if not SLOWEST_KBIT <= kbit <= FASTEST_KBIT:
        mend = f"give {SLOWEST_KBIT}kbit to {FASTEST_KBIT // 1_000_000}gbit"
        raise RouteSettingError(index, f"{words[1]} is out of range", key=KEY, mend=mend)
    return Limit(_target(index, words[0]), kbit)


def _target(index: int, text: str) -> str:
    if "/" not in text and ":" not in text and not text.replace(".", "").isdecimal():
        if _NAME.fullmatch(text):
            return text.rstrip(".")
        raise RouteSettingError(index, f"{text[:64]!r} is no name", key=KEY, mend=_MEND)
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise RouteSettingError(index, f"{text[:64]!r} is no prefix", key=KEY, mend=_MEND) from None


def rate_text(kbit: int) -> str:
    """In the largest unit that gives a whole number."""
    unit = next(name for name in ("gbit", "mbit", "kbit") if kbit % _UNITS[name] == 0)
    return f"{kbit // _UNITS[unit]}{unit}"


def shapes(limits: Iterable[Limit], peers: Mapping[str, tuple[str, ...]]) -> tuple[TrafficShape, ...]:
    """What the core is to do; `peers` are the prefixes of the peers that are named. The first that fits counts."""
    found = []
    for limit in limits:
        prefixes = peers.get(limit.target, ()) if limit.is_peer else (limit.target,)
        if prefixes:
            found.append(TrafficShape(prefixes, limit.rate_kbit, limit.target))
    return tuple(found)


class NamedPeers:
    """The prefixes of the peers that limits name: addresses and the networks behind them, but for exits' defaults."""

    def __init__(self) -> None:
        self._wanted: frozenset[str] = frozenset()
        self._names: dict[str, str] = {}
        """Wanted name by stable id."""
        self._prefixes: dict[str, tuple[str, ...]] = {}
        self.is_stale = False
        """A name is wanted that nobody has looked for among the peers."""

    @property
    def prefixes(self) -> Mapping[str, tuple[str, ...]]:
        """By name."""
        return {name: self._prefixes[stable_id] for stable_id, name in self._names.items()}

    def want(self, limits: Iterable[Limit]) -> None:
        wanted = frozenset(limit.target for limit in limits if limit.is_peer)
        self.is_stale |= not wanted <= self._wanted
        self._wanted = wanted
        for stable_id in [key for key, name in self._names.items() if name not in wanted]:
            self.forget(stable_id)

    def look(self, peers: Iterable[NodeInfo]) -> None:
        """Take all peers in."""
        self.is_stale = False
        for peer in peers:
            self.note(peer)

    def note(self, peer: NodeInfo) -> None:
        name = peer.name.lower()
        found = next((each for each in (name, name.partition(".")[0]) if each in self._wanted), "")
        if not found:
            self.forget(peer.stable_id)
            return
        networks = [ip_network(text) for text in (*peer.addresses, *peer.routes)]
        self._names[peer.stable_id] = found
        self._prefixes[peer.stable_id] = tuple(dict.fromkeys(str(each) for each in networks if each.prefixlen))

    def forget(self, stable_id: str) -> None:
        self._names.pop(stable_id, None)
        self._prefixes.pop(stable_id, None)

    def clear(self) -> None:
        self._names.clear()
        self._prefixes.clear()
