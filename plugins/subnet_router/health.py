"""Pure health checks: state in, items out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from appliance.api import HealthItem
from appliance.types.errors import Severity
from plugins.subnet_router.rules import families
from plugins.subnet_router.state import RouterState

SHOWN = 5
"""Prefixes named in one text; more are counted."""


def health_items(state: RouterState) -> tuple[HealthItem, ...]:
    return (
        *_forwarding(state),
        *_lost(state),
        *_approval(state),
        *_conflicts(state),
        *_overlaps(state),
        *_not_accepted(state),
        *_pool(state),
    )


def _pool(state: RouterState) -> Iterator[HealthItem]:
    seen = state.translation
    if seen is not None and seen.senders >= seen.capacity:
        yield HealthItem(
            "translation-pool-full",
            f"{seen.senders} senders use 4via6, further ones are refused until some were silent for two hours",
            "give a larger translation_pool, such as 198.18.0.0/16",
        )


def _lost(state: RouterState) -> Iterator[HealthItem]:
    if state.lost:
        texts = [f"{route} ({reason})" for route, reason in state.lost.items()]
        yield HealthItem(
            "network-lost",
            f"networks are not offered, for this gateway does not reach them: {listed(texts)}",
            "look at the cable, the switch and the hosts that 'probes' names",
            Severity.HIGH,
        )


def _overlaps(state: RouterState) -> Iterator[HealthItem]:
    pairs = state.judged.overlaps
    if pairs and state.config.accept_routes:
        texts = [f"{inner} lies in {outer}" for outer, inner in islice(pairs.values(), SHOWN)]
        yield HealthItem(
            "routes-overlap",
            f"networks of the mesh overlap, the smaller one goes first: {listed(texts, len(pairs))}",
            "if that is not meant, refuse one: waypost plugins config subnet_router 'refuse_routes=[\"PREFIX\"]'",
            Severity.LOW,
        )


def _forwarding(state: RouterState) -> Iterator[HealthItem]:
    wanted = families(state.wanted)
    off = [
        sysctl
        for version, value, sysctl in (
            (4, state.facts.forwarding_v4, "net.ipv4.ip_forward"),
            (6, state.facts.forwarding_v6, "net.ipv6.conf.all.forwarding"),
        )
        if version in wanted and value is False
    ]
    if off:
        yield HealthItem(
            "ip-forwarding-off",
            f"subnets are advertised, but the kernel does not forward packets ({', '.join(off)} is 0)",
            f"run: sysctl -w {' '.join(f'{sysctl}=1' for sysctl in off)}, and keep it in /etc/sysctl.d",
            Severity.HIGH,
        )


def _approval(state: RouterState) -> Iterator[HealthItem]:
    if state.waiting:
        yield HealthItem(
            "routes-not-approved",
            f"advertised routes wait for approval: {listed(state.waiting)}",
            "approve them on the control server, or name them in the policy's autoApprovers",
        )


def _conflicts(state: RouterState) -> Iterator[HealthItem]:
    found = state.judged.conflicts
    if found:
        texts = [f"{prefix} ({reason})" for prefix, reason in islice(found.items(), SHOWN)]
        yield HealthItem(
            "route-conflict",
            f"peers' routes are not installed: {listed(texts, len(found))}",
            "give the sites different networks, or let the other one advertise it like 192.168.1.0/24-via-7 (4via6)",
        )


def _not_accepted(state: RouterState) -> Iterator[HealthItem]:
    if state.offering and not state.config.accept_routes:
        yield HealthItem(
            "routes-not-accepted",
            f"{state.offering} {'peer offers' if state.offering == 1 else 'peers offer'} subnets, "
            "which this gateway does not use",
            "run: waypost set --accept-routes",
            Severity.LOW,
        )


def listed(texts: Sequence[str], number: int | None = None) -> str:
    """The first few, and how many more; `number`: of how many they are the first."""
    more = (len(texts) if number is None else number) - SHOWN
    return ", ".join(texts[:SHOWN]) + (f" and {more} more" if more > 0 else "")
