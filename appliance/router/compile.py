"""Filter rules to source classes: pure, no nftables words (node-os spec 1.5).

The source space is cut at every boundary of a rule's sources; the pieces that the same destinations are open to form a
class. A packet then costs one lookup of its source and a few of its destination, whatever the number of rules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from operator import is_not

from appliance.router.destinations import FilterError, Opened
from appliance.router.pieces import Bundle, Piece, Pieces, SourceClass, everything
from appliance.router.ranges import REMEMBERED, Interval, lost, merge, parse_addresses, prefix_interval, subtract
from appliance.types.addresses import Address, Prefix
from appliance.types.editions import Edition
from appliance.types.errors import DecodeError
from appliance.types.netmap import FilterRule, PortRange
from appliance.types.sequences import common_ends

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


_Words = tuple[tuple[str, ...], tuple[PortRange, ...], tuple[int, ...]]
"""Of a rule, what speaks of packets."""


@dataclass(eq=False, slots=True)
class _Read:
    """A rule as read: what it opens and to whom; and how often the filter has it."""

    words: _Words
    opened: Opened
    sources: dict[int, list[Interval]]
    capabilities: frozenset[str]
    problems: tuple[str, ...]
    times: int = 0


class FilterCompiler:
    """Compiles one filter after the other; what a rule has in common with the former ones is not made again.

    A change costs the rules between the first and the last that differ, by identity, and the cutting of those sources
    that gained or lost something.
    """

    def __init__(self) -> None:
        self._start_over()

    def _start_over(self) -> None:
        self._cap_sources: Mapping[str, tuple[Address, ...]] = {}
        self._jailed: Collection[Prefix] = ()
        self._shut: dict[int, list[Interval]] = {version: [] for version in VERSIONS}
        self._rules: tuple[FilterRule, ...] = ()
        self._by_words: dict[_Words, _Read] = {}
        self._by_capability: dict[str, dict[_Read, None]] = defaultdict(dict)
        self._faulty: dict[_Read, None] = {}
        self._bundles: dict[Opened, tuple[Bundle, dict[_Read, None]]] = {}
        self._pieces = {version: Pieces(version) for version in VERSIONS}

    def compile(
        self,
        rules: Iterable[FilterRule],
        cap_sources: Mapping[str, tuple[Address, ...]] | None = None,
        jailed: Collection[Prefix] = (),
    ) -> CompiledFilter:
        """Bad entries are left out and named in `problems`. Raises `FilterError` when the result would be too large."""
        try:
            changed = (*self._shut_out(jailed), *self._name_holders(cap_sources or {}), *self._change(tuple(rules)))
            self._cut(list(dict.fromkeys(changed)))
        except FilterError:
            self._start_over()  # half of the change is in
            raise
        problems = {problem for read in self._faulty for problem in read.problems}
        first, second = (FamilyFilter(version, each.classes, each.pieces) for version, each in self._pieces.items())
        return CompiledFilter((first, second), tuple(sorted(problems)))

    def _shut_out(self, jailed: Collection[Prefix]) -> list[Opened]:
        """Take in whose sources open nothing; what may be open to others now."""
        if jailed == self._jailed:
            return []
        self._jailed = jailed
        self._shut = {
            version: merge(prefix_interval(prefix) for prefix in jailed if prefix.version == version)
            for version in VERSIONS
        }
        return list(self._bundles)

    def _name_holders(self, cap_sources: Mapping[str, tuple[Address, ...]]) -> list[Opened]:
        """Take in who holds which capability; what is open to others now."""
        former, self._cap_sources = self._cap_sources, cap_sources
        changed: list[Opened] = []
        for name, reads in self._by_capability.items():
            if former.get(name, ()) != cap_sources.get(name, ()):
                for read in reads:
                    read.sources = _sources(read.words[0], cap_sources, [])
                    changed.append(read.opened)
        return changed

    def _change(self, rules: tuple[FilterRule, ...]) -> list[Opened]:
        """Take the rules in; what is open to others now."""
        former, self._rules = self._rules, rules
        head, tail = common_ends(former, rules, is_not)
        touched: dict[_Read, None] = {}
        for rule in filter(_opens_packets, rules[head : len(rules) - tail]):
            read = self._read(rule)
            read.times += 1
            touched[read] = None
        for rule in filter(_opens_packets, former[head : len(former) - tail]):
            read = self._by_words[_words(rule)]
            read.times -= 1
            touched[read] = None
        return [read.opened for read in touched if self._settle(read)]

    def _settle(self, read: _Read) -> bool:
        """Bring a rule into its bundle, or out of it; whether it has come or gone."""
        members = self._bundles.setdefault(read.opened, (Bundle(read.opened), {}))[1]
        if bool(read.times) == (read in members):
            return False
        lists = [members, *(self._by_capability[name] for name in read.capabilities)]
        if read.problems:
            lists.append(self._faulty)
        for held in lists:
            if read.times:
                held[read] = None
            else:
                del held[read]
        if not read.times:
            del self._by_words[read.words]
        return True

    def _read(self, rule: FilterRule) -> _Read:
        words = _words(rule)
        read = self._by_words.get(words)
        if read is None:
            problems: list[str] = []
            opened = tuple(destination_entries(rule, problems)), rule_protocols(rule)
            sources = _sources(rule.src_ips, self._cap_sources, problems)
            names = frozenset(text.removeprefix(_CAP) for text in rule.src_ips if text.startswith(_CAP))
            read = self._by_words[words] = _Read(words, opened, sources, names, tuple(problems))
        return read

    def _cut(self, changed: list[Opened]) -> None:
        bundles = {opened: self._bundles[opened] for opened in changed}
        windows: dict[int, list[Interval]] = {version: [] for version in VERSIONS}
        for bundle, members in bundles.values():
            for version in bundle.versions:
                own = chain.from_iterable(read.sources[version] for read in members)
                held, now = bundle.sources.get(version, []), subtract(own, self._shut[version])
                windows[version] += (*lost(held, now), *lost(now, held))
                bundle.sources[version] = now
        for version, pieces in self._pieces.items():
            found = merge(windows[version])
            few = len(found) <= MAX_WINDOWS
            concerned = bundles if few else self._bundles
            pieces.update(found if few else everything(version), [bundle for bundle, _members in concerned.values()])
        for opened, (_bundle, members) in bundles.items():
            if not members:
                del self._bundles[opened]


def _words(rule: FilterRule) -> _Words:
    return rule.src_ips, rule.dst_ports, rule.ip_protos


def _opens_packets(rule: FilterRule) -> bool:
    return bool(rule.dst_ports)


def compile_rules(
    rules: Iterable[FilterRule],
    cap_sources: Mapping[str, tuple[Address, ...]] | None = None,
    jailed: Collection[Prefix] = (),
) -> CompiledFilter:
    """One filter from nothing. Raises as `FilterCompiler.compile`."""
    return FilterCompiler().compile(rules, cap_sources, jailed)


def _sources(
    texts: tuple[str, ...], cap_sources: Mapping[str, tuple[Address, ...]], problems: list[str]
) -> dict[int, list[Interval]]:
    """Those of a rule by IP version; plain addresses, which may be many, in one go."""
    try:
        entries = list(chain.from_iterable(map(_addresses, texts)))
    except DecodeError:
        entries = list(source_entries(texts, cap_sources, problems))
    return {version: [item for family, item in entries if family == version] for version in VERSIONS}


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
