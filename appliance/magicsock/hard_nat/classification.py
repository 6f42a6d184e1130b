"""What kind of NAT is in front of us, from STUN answers to several sockets (magicsock-disco spec 4.3). Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from appliance.proto.disco import NatClass, NatMapping, PortRule
from appliance.types.addresses import AddrPort

BLOCK_PORTS = 4096
BLOCK_SAMPLES = 16
MAX_STEP = 16
MAX_JUMP = 200
"""Ports between two mappings in turn, others' included, that still look like counting."""
LOWEST_PORT, HIGHEST_PORT = 1024, 65535
POOLS = ((49152, 65535), (32768, 60999), (LOWEST_PORT, HIGHEST_PORT))
POOL_SAMPLES = 6


@dataclass(frozen=True, slots=True)
class Observation:
    """One STUN answer. `order` counts requests as they were sent; `at` is when, monotonic seconds."""

    order: int
    local_port: int
    server: AddrPort
    mapped: AddrPort
    at: float


def classify(observations: Iterable[Observation]) -> NatClass | None:
    """None without any answer."""
    seen = sorted(observations, key=lambda each: each.order)
    if not seen:
        return None
    mapping = _mapping(seen)
    fresh = _first_uses(seen)
    ports = [each.mapped.port for each in fresh]
    low, high = min(ports), max(ports)
    step, rate = _counting(fresh)
    if all(each.mapped.port == each.local_port for each in seen):
        rule = PortRule.PRESERVING
    elif step:
        rule = PortRule.SEQUENTIAL
    elif len(ports) >= BLOCK_SAMPLES and high - low < BLOCK_PORTS:
        rule = PortRule.BLOCK
    else:
        rule, (low, high) = PortRule.RANDOM, _pool(ports)
    return NatClass(mapping, rule, seen[-1].mapped.ip, step, rate, low, high, ports[-1])


def _mapping(seen: Sequence[Observation]) -> NatMapping:
    """By the sockets that asked more than one server."""
    by_socket: dict[int, dict[AddrPort, AddrPort]] = defaultdict(dict)
    for each in seen:
        by_socket[each.local_port][each.server] = each.mapped
    compared = [mapped for mapped in by_socket.values() if len(mapped) > 1]
    if not compared:
        return NatMapping.UNKNOWN
    if all(len(set(mapped.values())) == 1 for mapped in compared):
        return NatMapping.ENDPOINT_INDEPENDENT
    same_address = [pair for mapped in compared for pair in _same_address(mapped)]
    if same_address and all(a == b for a, b in same_address):
        return NatMapping.ADDRESS_DEPENDENT
    return NatMapping.ADDRESS_AND_PORT_DEPENDENT


def _same_address(mapped: dict[AddrPort, AddrPort]) -> list[tuple[AddrPort, AddrPort]]:
    """Mappings toward two ports of one address."""
    servers = sorted(mapped)
    return [(mapped[a], mapped[b]) for a, b in pairwise(servers) if a.ip == b.ip]


def _first_uses(seen: Sequence[Observation]) -> list[Observation]:
    """One observation for each mapping, in the order in which they were made."""
    first: dict[AddrPort, Observation] = {}
    for each in seen:
        first.setdefault(each.mapped, each)
    return list(first.values())


def _counting(fresh: Sequence[Observation]) -> tuple[int, float]:
    """Step and rate (mappings of others a second) of a NAT that counts ports, (0, 0.0) when it does not."""
    jumps = [b.mapped.port - a.mapped.port for a, b in pairwise(fresh)]
    if len(jumps) < 3:
        return 0, 0.0
    usual = int(median(jumps))
    sign = 1 if usual > 0 else -1
    good = [jump for jump in jumps if 0 < jump * sign <= MAX_JUMP]
    if not usual or len(good) < len(jumps) - 1:  # the counter may have wrapped once
        return 0, 0.0
    step = min(abs(jump) for jump in good)
    if step > MAX_STEP:
        return 0, 0.0
    others = sum(abs(jump) / step - 1 for jump in good)
    seconds = max(fresh[-1].at - fresh[0].at, 0.05)
    return sign * step, others / seconds


def _pool(ports: Sequence[int]) -> tuple[int, int]:
    """The narrowest usual range that holds all; the whole one while there are few samples."""
    if len(ports) >= POOL_SAMPLES:
        for low, high in POOLS:
            if low <= min(ports) and max(ports) <= high:
                return low, high
    return LOWEST_PORT, HIGHEST_PORT
