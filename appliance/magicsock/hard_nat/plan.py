"""What two nodes do that found no direct path, from the kinds of their NATs (magicsock-disco spec 4.3). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from appliance.magicsock.hard_nat.meeting import chance, counted_ports, foretellable, pings_needed
from appliance.magicsock.hard_nat.odds import hit, likely_counts
from appliance.ports.randomness import Randomness
from appliance.proto.disco import NatClass, NatMapping, PortRule

MAX_SOCKETS = 512
SOCKETS_RANDOM = 256
SOCKETS_BLOCK = 64
SOCKETS_SEQUENTIAL = 16
PROBES_RANDOM = 2048
PROBES_SEQUENTIAL = 192
BLOCK_MARGIN = 512
STOCK_GUESSES = 512
"""Addresses in a call-me-maybe to a stock peer: as many as it may be expected to take."""


class Role(Enum):
    """The opener sits behind the hard NAT and opens sockets, the prober tries its ports from its one mapping.

    Two hard NATs: both are meeters, who ping the next ports of each other.
    """

    OPENER = "opener"
    PROBER = "prober"
    MEETER = "meeter"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class AttackPlan:
    """`chance`: of success, computed. `why`: for people."""

    role: Role
    sockets: int = 0
    probes: int = 0
    chance: float = 0.0
    why: str = ""


def is_hard(nat: NatClass) -> bool:
    """Mapping varies; while that is unknown, a NAT that does not keep ports counts as hard."""
    if nat.mapping is NatMapping.UNKNOWN:
        return nat.rule is not PortRule.PRESERVING
    return nat.mapping is not NatMapping.ENDPOINT_INDEPENDENT


def make_plan(ours: NatClass, theirs: NatClass, max_sockets: int = MAX_SOCKETS) -> AttackPlan:
    """What we do. The other side, asked the other way round, gets the matching role."""
    if is_hard(ours) and is_hard(theirs):
        return _meeting(ours, theirs, max_sockets)
    if not is_hard(ours) and not is_hard(theirs):
        return AttackPlan(Role.NONE, why="both NATs are easy")
    hard, role = (ours, Role.OPENER) if is_hard(ours) else (theirs, Role.PROBER)
    sockets, probes, pool = _sizes(hard)
    sockets = min(sockets, max_sockets)
    return AttackPlan(role, sockets, probes, hit(sockets, probes, pool), f"{hard.rule.name.lower()} ports")


def _meeting(ours: NatClass, theirs: NatClass, max_sockets: int) -> AttackPlan:
    if not foretellable(ours) or not foretellable(theirs):
        return AttackPlan(Role.NONE, why="both NATs are hard: two unknown ports would have to meet")
    rules = f"{ours.rule.name.lower()} and {theirs.rule.name.lower()} ports"
    return AttackPlan(Role.MEETER, min(1, max_sockets), pings_needed(ours, theirs), chance(ours, theirs), rules)


def _sizes(hard: NatClass) -> tuple[int, int, int]:
    """Sockets, probes and the ports among which they meet."""
    if hard.rule is PortRule.SEQUENTIAL:
        return SOCKETS_SEQUENTIAL, PROBES_SEQUENTIAL, PROBES_SEQUENTIAL
    if hard.rule is PortRule.BLOCK:
        low, high = block_bounds(hard)
        return SOCKETS_BLOCK, min(PROBES_RANDOM, high - low + 1), high - low + 1
    pool = hard.high - hard.low + 1
    return SOCKETS_RANDOM, min(PROBES_RANDOM, pool), pool


def block_bounds(nat: NatClass) -> tuple[int, int]:
    """A block with what may lie beside the part of it that was seen."""
    return max(1024, nat.low - BLOCK_MARGIN), min(65535, nat.high + BLOCK_MARGIN)


def ports_to_probe(hard: NatClass, count: int, randomness: Randomness, wait_s: float = 0.0) -> list[int]:
    """Distinct ports in the order of trying. `wait_s`: how old the class is when the openers are sent."""
    if hard.rule is PortRule.SEQUENTIAL:
        return _predicted(hard, count, wait_s)
    low, high = block_bounds(hard) if hard.rule is PortRule.BLOCK else (hard.low, hard.high)
    count = min(count, high - low + 1)
    chosen: dict[int, None] = {}
    while len(chosen) < count:
        chosen[low + randomness.below(high - low + 1)] = None
    return list(chosen)


def _predicted(hard: NatClass, count: int, wait_s: float) -> list[int]:
    """Ports after the last one seen; the openers take several in turn, so the window is one of their length longer."""
    first = likely_counts(hard.rate * wait_s, max(1, count - SOCKETS_SEQUENTIAL))
    counts = list(dict.fromkeys(k + own for k in first for own in range(SOCKETS_SEQUENTIAL)))
    counts = (counts + list(range(max(counts) + 1, max(counts) + 1 + count)))[:count]
    return counted_ports(hard, counts)
