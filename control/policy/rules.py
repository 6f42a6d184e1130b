"""Rules joined with the selector table: selectors as bit masks, and the class of a node by the rules it matches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from control.policy.selectors import Kind, Selector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from control.policy.matching import Masks, SelectorTable
    from control.policy.model import Rule

FIXED = frozenset({Kind.ANY, Kind.DANGER_ALL, Kind.PREFIX, Kind.IPSET})
"""Sources whose text does not depend on which nodes there are, as long as no posture is asked for."""
COMPANIONS = {
    "tailscale.com/cap/drive": "tailscale.com/cap/drive-sharer",
    "tailscale.com/cap/relay": "tailscale.com/cap/relay-target",
}
"""Capabilities that the other side must know of, with the name it gets (spec 2.3), by name."""


@dataclass(frozen=True, slots=True)
class SourceSet:
    """Sources of rules, shared by all rules that name the same. `dynamic`: selectors whose members matter."""

    selectors: tuple[Selector, ...]
    mask: int
    postures: int
    dynamic: int
    has_any: bool

    def holds(self, masks: Masks) -> bool:
        """Whether a node with these masks is one of the sources, by its own addresses."""
        return bool(self.mask & masks.own) and (not self.postures or bool(self.postures & masks.postures))


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with its selectors as masks. `reverse` numbers the destinations as sources of a companion rule."""

    rule: Rule
    source: int
    dst_mask: int
    via_mask: int
    is_self: bool
    companions: tuple[str, ...]
    reverse: int

    @property
    def is_app(self) -> bool:
        return bool(self.rule.app)


@dataclass(frozen=True, slots=True)
class NodeClass:
    """Rule numbers as bits: the node is a source, a destination, gets the rule in its filter, is a source of a rule
    toward autogroup:self, gets the companion of the rule."""

    src: int
    dst: int
    filtered: int
    self_src: int
    companion: int


class RuleTable:
    """All rules of a policy in order; numbers their sources and classifies nodes."""

    def __init__(self, table: SelectorTable, rules: tuple[Rule, ...]) -> None:
        self._table = table
        self._number: dict[tuple[tuple[Selector, ...], tuple[str, ...]], int] = {}
        self.sources: list[SourceSet] = []
        self.rules: list[CompiledRule] = [self._compile(rule) for rule in rules]
        self.self_rules = mask_of(number for number, rule in enumerate(self.rules) if rule.is_self)
        self.has_self_companions = any(rule.is_self and rule.companions for rule in self.rules)
        self.via_rules = [rule for rule in self.rules if rule.rule.via]
        self._users_of: dict[int, int] = {}
        self._reversers_of: dict[int, int] = {}
        for number, rule in enumerate(self.rules):
            self._users_of[rule.source] = self._users_of.get(rule.source, 0) | 1 << number
            if rule.reverse >= 0:
                self._reversers_of[rule.reverse] = self._reversers_of.get(rule.reverse, 0) | 1 << number
        self._classes: dict[Masks, NodeClass] = {}

    def users_of(self, source: int) -> int:
        """Rules with these sources."""
        return self._users_of.get(source, 0)

    def reversers_of(self, source: int) -> int:
        """Rules whose companion has these sources."""
        return self._reversers_of.get(source, 0)

    def _compile(self, rule: Rule) -> CompiledRule:
        is_self = rule.is_self
        targets = tuple(dst.selector for dst in rule.destinations if dst.selector.kind is not Kind.SELF)
        companions = tuple(COMPANIONS[name] for name, _ in sorted(rule.app) if name in COMPANIONS)
        return CompiledRule(
            rule=rule,
            source=self._source(rule.sources, rule.postures),
            dst_mask=self._table.mask(targets),
            via_mask=self._table.mask(tuple(Selector(Kind.TAG, tag) for tag in rule.via)),
            is_self=is_self,
            companions=companions,
            reverse=self._source(targets, ()) if companions and not is_self else -1,
        )

    def _source(self, selectors: tuple[Selector, ...], postures: tuple[str, ...]) -> int:
        key = (selectors, postures)
        known = self._number.get(key)
        if known is not None:
            return known
        mask = self._table.mask(selectors)
        moving = tuple(one for one in selectors if postures or one.kind not in FIXED)
        has_any = not postures and any(one.kind is Kind.ANY for one in selectors)
        self.sources.append(
            SourceSet(selectors, mask, self._table.posture_mask(postures), self._table.mask(moving), has_any)
        )
        number = self._number[key] = len(self.sources) - 1
        return number

    def class_of(self, masks: Masks) -> NodeClass:
        """The class of a node; remembered by its masks."""
        known = self._classes.get(masks)
        if known is None:
            known = self._classes[masks] = self._classify(masks)
        return known

    def _classify(self, masks: Masks) -> NodeClass:
        src = dst = filtered = self_src = companion = 0
        as_dst = masks.own | masks.routes | masks.exits
        own_or_routed = masks.own | masks.routes
        holds = [source.holds(masks) for source in self.sources]
        routed = [not one.postures and bool(one.mask & masks.routes) for one in self.sources]
        for number, rule in enumerate(self.rules):
            bit = 1 << number
            is_source = holds[rule.source]
            if rule.is_self:
                self_src |= bit if is_source else 0
                continue
            if is_source or routed[rule.source]:
                src |= bit
                companion |= bit if rule.companions else 0
            if rule.rule.via:
                reached, carried = _via(rule, masks)
                dst |= bit if reached else 0
                filtered |= bit if carried else 0
                continue
            if rule.dst_mask & as_dst:
                dst |= bit
            if rule.dst_mask & (own_or_routed if rule.is_app else as_dst | masks.covered):
                filtered |= bit
        return NodeClass(src, dst, filtered, self_src, companion)


def _via(rule: CompiledRule, masks: Masks) -> tuple[bool, bool]:
    """(visible to the sources, rule in its filter) of a node for a rule with `via`.

    A grant of capabilities alone gives no rule, but shows the routers that it names.
    """
    if not rule.via_mask & masks.own:
        return False, False
    if rule.is_app:
        return not rule.rule.gives_packets, False
    serves = bool(rule.dst_mask & masks.via)
    return serves, serves


def bits(mask: int) -> Iterator[int]:
    """Numbers of the bits that are set, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def mask_of(numbers: Iterator[int]) -> int:
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask
