"""Two hard NATs whose next ports can be foretold meet each other (magicsock-disco spec 4.2, 4.3). Pure.

Each side pings ports of the other from one socket. Behind *address and port-dependent* mapping each of these pings
gets an external port of its own, so a ping of ours gets through only if the peer pinged exactly that port, from exactly
the port that we ping. Let the k-th ping of A have the external port number `a + k` and go to number `f(k)` of B, and
likewise B's l-th `b + l` and `g(l)`: they meet where `f(k) = b + l` and `g(l) = a + k`. What others took in between
(a, b) is not known. With `f(k) = k` and `g(l) = 2 l` every pair of a and b meets exactly once, at `k = a + 2 b`,
`l = a + b`: a window of W ports on both sides costs 3 W pings, where trying all pairs costs W * W. Numbers count the
ports that the NAT gives, whatever its step.

Behind *address-dependent* mapping one socket has one port toward the peer, and trying each port of a window once is
enough. Ports that are drawn from a small block are tried all, as far as the limits allow.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp

from appliance.magicsock.hard_nat.odds import poisson
from appliance.ports.randomness import Randomness
from appliance.proto.disco import NatClass, NatMapping, PortRule

BLOCK_PORTS = 512
"""Larger blocks are left alone."""
MOST_PINGS = 512
"""Of one side: routers and carriers bound the mappings of a subscriber."""
COUNTED_PINGS = 96
DRAWN_PINGS = 256
"""Where each ping costs a mapping out of the small block that the subscriber has."""
AGE_S = 0.3
"""From the last question to the first ping, typically: what a counting NAT may give to others meanwhile."""


def foretellable(nat: NatClass) -> bool:
    """Whether its next ports are few."""
    if nat.rule is PortRule.BLOCK:
        return nat.high - nat.low < BLOCK_PORTS
    return nat.rule is PortRule.SEQUENTIAL


def has_one_port(nat: NatClass) -> bool:
    """Whether a socket has the same external port toward all ports of the peer's address."""
    return nat.mapping is NatMapping.ADDRESS_DEPENDENT


def ports_to_meet(
    ours: NatClass, theirs: NatClass, randomness: Randomness, *, leads: bool, again: bool = False
) -> list[int]:
    """Ports of the peer in the order of trying. `leads`: we offered the attempt; the two strides differ by it.

    `again`: a round failed, so the mapping may not be what it seems to be; what the stride leaves out is tried last.
    """
    count = pings_needed(ours, theirs)
    if theirs.rule is PortRule.BLOCK:
        return _drawn(theirs, count, randomness)
    if leads or has_one_port(ours) or has_one_port(theirs) or ours.rule is PortRule.BLOCK:
        return counted_ports(theirs, range(count))
    odd = range(1, count, 2) if again else ()
    return counted_ports(theirs, (*range(0, 2 * count, 2), *odd))


def pings_needed(ours: NatClass, theirs: NatClass) -> int:
    """How many pings we send."""
    certain = has_one_port(ours) or has_one_port(theirs)
    if theirs.rule is PortRule.BLOCK:
        low, high = stretched(theirs)
        return min(high - low + 1, MOST_PINGS if certain else DRAWN_PINGS)
    if ours.rule is PortRule.BLOCK:
        return MOST_PINGS if certain else DRAWN_PINGS
    return COUNTED_PINGS


def counted_ports(nat: NatClass, numbers: Iterable[int]) -> list[int]:
    """External ports by number: 0 is the next one that the NAT gives."""
    ports = [nat.last + nat.step * (1 + number) for number in numbers]
    return list(dict.fromkeys(1024 + (port - 1024) % (65536 - 1024) for port in ports))


def stretched(nat: NatClass) -> tuple[int, int]:
    """A block with what may lie beside the part that was seen."""
    margin = 8 + (nat.high - nat.low) // 16
    return max(1024, nat.low - margin), min(65535, nat.high + margin)


def _drawn(nat: NatClass, count: int, randomness: Randomness) -> list[int]:
    low, high = stretched(nat)
    ports = list(range(low, high + 1))
    for at in range(count):
        other = at + randomness.below(len(ports) - at)
        ports[at], ports[other] = ports[other], ports[at]
    return ports[:count]


def chance(ours: NatClass, theirs: NatClass) -> float:
    """Of one round, computed; the same whoever asks."""
    pings = pings_needed(ours, theirs), pings_needed(theirs, ours)
    if has_one_port(ours) or has_one_port(theirs):
        return _covered(ours, pings[1]) * _covered(theirs, pings[0])
    blocks = [nat for nat in (ours, theirs) if nat.rule is PortRule.BLOCK]
    if not blocks:
        return _counted_meet(ours, theirs)
    chances = 1.0
    for block in blocks:
        chances *= 1 / _size(block)
    tries = pings[0] * pings[1] if len(blocks) == 2 else min(pings)
    return 1.0 - exp(-tries * chances)


def _size(nat: NatClass) -> int:
    low, high = stretched(nat)
    return high - low + 1


def _covered(nat: NatClass, pings: int) -> float:
    """Chance that the one port in question is among those that the other side tries."""
    if nat.rule is PortRule.BLOCK:
        return min(1.0, pings / _size(nat))
    mean = nat.rate * AGE_S
    return min(1.0, sum(poisson(number, mean) for number in range(pings)))


def _counted_meet(ours: NatClass, theirs: NatClass) -> float:
    """Chance that what others took lies in the reach of the two strides; the product of both windows."""
    means = ours.rate * AGE_S, theirs.rate * AGE_S
    reach = range(COUNTED_PINGS // 3)
    return min(1.0, sum(poisson(k, means[0]) for k in reach) * sum(poisson(k, means[1]) for k in reach))
