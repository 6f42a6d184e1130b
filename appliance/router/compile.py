"""Filter rules to source classes: pure, no nftables words (node-os spec 1.5).

The source space is cut at every boundary of a rule's sources; the pieces that the same destinations are open to form a
class. A packet then costs one lookup of its source and a few of its destination, whatever the number of rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import compress, count
from operator import is_not

from appliance.router.destinations import FilterError, Opened
from appliance.router.pieces import Bundle, Piece, Pieces, SourceClass, everything
from appliance.router.ranges import REMEMBERED, Interval, merge, parse_addresses, prefix_interval, subtract
from appliance.types.addresses import Address, Prefix
from appliance.types.editions import Edition
from appliance.types.errors import DecodeError
from appliance.types.netmap import FilterRule

DEFAULT_PROTOCOLS = (6, 17, 1, 58)
"""Of a rule that names none (node-os spec 1.4)."""
TSMP = 99
MAX_WINDOWS = 64
"""Where more of the source space changes, all of it is cut anew."""
VERSIONS = (4, 6)
_CAP = "cap:"


@dataclass(frozen=True, slots=True)
class FamilyFilter:
    """Sources that may open something, for one IP version: classes by their first address, and the disjoint pieces that
    they consist of, by theirs."""

    version: int
    classes: Edition[int, SourceClass]
    pieces: Edition[int, Piece] = field(compare=False)


@dataclass(frozen=True, slots=True)
class CompiledFilter:
    families: tuple[FamilyFilter, FamilyFilter]
    problems: tuple[str, ...] = ()


@dataclass(eq=False, slots=True)
class _Read:
    """A rule as read: what it opens and to whom; and how often the filter has it."""

    rule: FilterRule
    opened: Opened
    sources: tuple[tuple[int, Interval], ...]
    problems: tuple[str, ...]
    times: int = 0


class FilterCompiler:
    """Compiles one filter after the other; what a rule has in common with the former ones is not made again.

    A change costs the rules between the first and the last that differ, by identity, and the cutting of those sources
    that gained or lost something.
    """

    def __init__(self) -> None:
        self._start_over({}, ())

    def _start_over(self, cap_sources: Mapping[str, tuple[Address, ...]], jailed: tuple[Prefix, ...]) -> None:
        self._cap_sources, self._jailed = cap_sources, jailed
        self._rules: tuple[FilterRule, ...] = ()
        self._by_rule: dict[FilterRule, _Read] = {}
        self._faulty: dict[_Read, None] = {}
        self._bundles: dict[Opened, tuple[Bundle, dict[_Read, None]]] = {}
        self._pieces = {version: Pieces(version) for version in VERSIONS}
        self._shut = {
            version: merge(prefix_interval(prefix) for prefix in jailed if prefix.version == version)
            for version in VERSIONS
        }

    def compile(
        self,
        rules: Iterable[FilterRule],
        cap_sources: Mapping[str, tuple[Address, ...]] | None = None,
        jailed: Iterable[Prefix] = (),
    ) -> CompiledFilter:
        """Bad entries are left out and named in `problems`. Raises `FilterError` when the result would be too large."""
        around = dict(cap_sources or {}), tuple(jailed)
        if around != (self._cap_sources, self._jailed):
            self._start_over(*around)
        try:
            self._change(tuple(rules))
        except FilterError:
            self._start_over(*around)  # half of the change is in
            raise
        problems = {problem for read in self._faulty for problem in read.problems}
        first, second = (FamilyFilter(version, each.classes, each.pieces) for version, each in self._pieces.items())
        return CompiledFilter((first, second), tuple(sorted(problems)))

    def _change(self, rules: tuple[FilterRule, ...]) -> None:
        """Take the rules in; the pieces follow."""
        former, self._rules = self._rules, rules
        gone, fresh = _unlike(former, rules)
        touched: dict[_Read, None] = {}
        for rule in filter(_opens_packets, fresh):
            read = self._read(rule)
            read.times += 1
            touched[read] = None
        for rule in filter(_opens_packets, gone):
            read = self._by_rule[rule]
            read.times -= 1
            touched[read] = None
        self._cut(list(dict.fromkeys(read.opened for read in touched if self._settle(read))))

    def _settle(self, read: _Read) -> bool:
        """Bring a rule into its bundle, or out of it; whether it has come or gone."""
        members = self._bundles.setdefault(read.opened, (Bundle(read.opened), {}))[1]
        if bool(read.times) == (read in members):
            return False
        if read.times:
            members[read] = None
            if read.problems:
                self._faulty[read] = None
        else:
            del members[read], self._by_rule[read.rule]
            self._faulty.pop(read, None)
        return True

    def _read(self, rule: FilterRule) -> _Read:
        read = self._by_rule.get(rule)
        if read is None:
            problems: list[str] = []
            opened = tuple(destination_entries(rule, problems)), rule_protocols(rule)
            sources = tuple(source_entries(rule.src_ips, self._cap_sources, problems))
            read = self._by_rule[rule] = _Read(rule, opened, sources, tuple(problems))
        return read

    def _cut(self, changed: list[Opened]) -> None:
        bundles = {opened: self._bundles[opened] for opened in changed}
        windows: dict[int, list[Interval]] = {version: [] for version in VERSIONS}
        for bundle, members in bundles.values():
            for version in bundle.versions:
                own = (item for read in members for family, item in read.sources if family == version)
                held, now = bundle.sources.get(version, []), subtract(own, self._shut[version])
                windows[version] += (*subtract(held, now), *subtract(now, held)) if held else now
                bundle.sources[version] = now
        for version, pieces in self._pieces.items():
            found = merge(windows[version])
            few = len(found) <= MAX_WINDOWS
            concerned = bundles if few else self._bundles
            pieces.update(found if few else everything(version), [bundle for bundle, _members in concerned.values()])
        for opened, (_bundle, members) in bundles.items():
            if not members:
                del self._bundles[opened]


def _opens_packets(rule: FilterRule) -> bool:
    return bool(rule.dst_ports)


def _unlike(
    former: tuple[FilterRule, ...], now: tuple[FilterRule, ...]
) -> tuple[tuple[FilterRule, ...], tuple[FilterRule, ...]]:
    """What of each is left between the beginning and the end that are the very same."""
    least = min(len(former), len(now))
    head = next(compress(count(), map(is_not, former, now)), least)
    tail = next(compress(count(), map(is_not, reversed(former), reversed(now))), least)
    tail = min(tail, least - head)
    return former[head : len(former) - tail], now[head : len(now) - tail]


def compile_rules(
    rules: Iterable[FilterRule],
    cap_sources: Mapping[str, tuple[Address, ...]] | None = None,
    jailed: Iterable[Prefix] = (),
) -> CompiledFilter:
    """One filter from nothing. Raises as `FilterCompiler.compile`."""
    return FilterCompiler().compile(rules, cap_sources, jailed)


def source_entries(
    texts: Iterable[str], cap_sources: Mapping[str, tuple[Address, ...]], problems: list[str]
) -> Iterator[tuple[int, Interval]]:
    """Sources of a rule; `cap:` stands for the peers that hold the capability now."""
    for text in texts:
        if text.startswith(_CAP):
            for address in cap_sources.get(text[len(_CAP) :], ()):
                yield address.version, (int(address), int(address))
        else:
            yield from _parsed(text, problems)


def destination_entries(rule: FilterRule, problems: list[str]) -> Iterator[tuple[int, Interval, Interval]]:
    """Version, addresses and ports of a rule's destinations."""
    for item in rule.dst_ports:
        if not 0 <= item.first <= item.last <= 65535:
            problems.append(f"filter rule with bad ports {item.first}-{item.last}")
            continue
        for version, interval in _parsed(item.ip, problems):
            yield version, interval, (item.first, item.last)


def rule_protocols(rule: FilterRule) -> tuple[int, ...]:
    """Values outside 0 to 255 are ignored; none named means the default set."""
    if not rule.ip_protos:
        return DEFAULT_PROTOCOLS
    return tuple(sorted({number for number in rule.ip_protos if 0 <= number <= 255}))


@lru_cache(maxsize=REMEMBERED)
def _addresses(text: str) -> tuple[tuple[int, Interval], ...]:
    return tuple(parse_addresses(text))


def _parsed(text: str, problems: list[str]) -> tuple[tuple[int, Interval], ...]:
    try:
        return _addresses(text)
    except DecodeError as error:
        problems.append(f"filter rule ignored: {error.text}")
        return ()
