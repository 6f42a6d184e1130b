"""Chances of meeting behind a hard NAT, computed (magicsock-disco spec 4.2). Pure."""

from __future__ import annotations

from math import exp, lgamma, log


def hit(openings: int, probes: int, pool: int) -> float:
    """Chance that one of so many distinct probes meets one of so many openings in a pool of ports.

    `1 - C(pool-openings, probes) / C(pool, probes)`.
    """
    if openings <= 0 or probes <= 0:
        return 0.0
    if openings + probes > pool:
        return 1.0
    missed = _log_choose(pool - openings, probes) - _log_choose(pool, probes)
    return 1.0 - exp(missed)


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def poisson(k: int, mean: float) -> float:
    """Chance of exactly k."""
    if mean <= 0:
        return 1.0 if k == 0 else 0.0
    return exp(k * log(mean) - mean - lgamma(k + 1))


def likely_counts(mean: float, width: int) -> list[int]:
    """The `width` likeliest values of a Poisson variable, the likeliest first."""
    furthest = int(mean) + 2 * width
    return sorted(range(furthest), key=lambda k: -poisson(k, mean))[:width]
