"""Which uplink to use: by the order given, or the fastest; away from a bad one at once, back only when it is proven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from appliance.uplinks.meter import Condition, Quality

PROVEN = 20
"""Answers in a row before a working uplink is left for another."""
FASTER_S = 0.010
FASTER_SHARE = 2 / 3
WIDER = 1.5
"""Times as much; what is measured is no exact number."""


class Policy(StrEnum):
    ORDER = "order"
    """The first of the list that works."""
    FASTEST = "fastest"
    """The lowest latency of those that work, when the difference is worth it."""
    WIDEST = "widest"
    """The one that carries most upward; those that were not measured by their order."""


def choose(policy: Policy, order: Sequence[str], known: Mapping[str, Quality], current: str) -> str:
    """The uplink to use now, "" when there is none. `known` are those that are there."""
    present = [name for name in order if name in known]
    if not present:
        return ""
    if current not in known:
        return min(present, key=lambda name: (known[name].condition, present.index(name)))
    best = min(present, key=lambda name: (known[name].condition, *_rank(policy, present, known, name)))
    if best == current or known[best].condition is Condition.DOWN:
        return current
    if known[best].condition < known[current].condition:
        return best if _answers_meanwhile(known[best], known[current]) else current
    if known[best].answered_in_a_row < PROVEN:
        return current
    match policy:
        case Policy.ORDER:
            return best
        case Policy.FASTEST:
            return best if _clearly_faster(known[best], known[current]) else current
        case Policy.WIDEST:
            preferred = present.index(best) < present.index(current)
            return best if _clearly_wider(known[best], known[current], preferred) else current


def _answers_meanwhile(other: Quality, current: Quality) -> bool:
    """An answer through the other one since this one is silent: else the servers may be what is down."""
    if other.answered_at is None:
        return False
    return current.silent_since is None or other.answered_at > current.silent_since


def _rank(policy: Policy, present: Sequence[str], known: Mapping[str, Quality], name: str) -> tuple[float, int]:
    latency, place = known[name].latency_s, present.index(name)
    match policy:
        case Policy.ORDER:
            return 0.0, place
        case Policy.FASTEST:
            return latency if latency is not None else float("inf"), place
        case Policy.WIDEST:
            return -(known[name].up_rate or 0.0), place


def _clearly_faster(one: Quality, other: Quality) -> bool:
    if one.latency_s is None or other.latency_s is None:
        return other.latency_s is None
    return other.latency_s - one.latency_s >= FASTER_S and one.latency_s <= other.latency_s * FASTER_SHARE


def _clearly_wider(one: Quality, other: Quality, preferred: bool) -> bool:
    """`preferred`: `one` stands first in the order, which decides where a width is not known."""
    if one.up_rate is None or other.up_rate is None:
        return preferred
    return one.up_rate >= WIDER * other.up_rate


def in_question(policy: Policy, order: Sequence[str], known: Mapping[str, Quality], current: str, name: str) -> bool:
    """Whether a standby uplink is to be measured as often as the one in use: it may soon be needed or preferred."""
    if name == current or known[name].probes < PROVEN:
        return True
    used = known.get(current)
    if used is not None and (used.condition is not Condition.GOOD or used.silent_since is not None):
        return True
    preferred = policy is Policy.ORDER and current in order and order.index(name) < order.index(current)
    return preferred and known[name].condition is Condition.GOOD
