"""Arithmetic on inclusive integer ranges, and the address forms of filter rules (node-os spec 1.4)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from appliance.types.addresses import Address, Prefix, parse_prefix
from appliance.types.errors import DecodeError, DecodeReason

Interval = tuple[int, int]
"""First and last, both included; of addresses as integers, or of ports."""

REMEMBERED = 32_768
"""Texts and addresses kept from one filter to the next, which differ by little."""
LAST = {4: 2**32 - 1, 6: 2**128 - 1}
ALL_PORTS: Interval = (0, 65535)


def parse_addresses(text: str) -> list[tuple[int, Interval]]:
    """IP, CIDR (host bits zero), `a-b` or `*` as (version, interval). Raises `DecodeError` (BAD_VALUE)."""
    if text == "*":
        return [(4, (0, LAST[4])), (6, (0, LAST[6]))]
    if "/" in text:
        prefix = parse_prefix(text)
        return [(prefix.version, prefix_interval(prefix))]
    first_text, dash, last_text = text.partition("-")
    try:
        first = _address(first_text)
        last = _address(last_text) if dash else first
    except ValueError:
        raise DecodeError(DecodeReason.BAD_VALUE, f"not an address or range: {text[:100]!r}") from None
    if first.version != last.version or int(first) > int(last):
        raise DecodeError(DecodeReason.BAD_VALUE, f"not an address range: {text[:100]!r}")
    return [(first.version, (int(first), int(last)))]


def _address(text: str) -> Address:
    """Raises ValueError."""
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def prefix_interval(prefix: Prefix) -> Interval:
    first = int(prefix.network_address)
    return first, first + (1 << (prefix.max_prefixlen - prefix.prefixlen)) - 1


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Sorted, disjoint and not even adjacent."""
    found = sorted(intervals)
    if len(found) < 2:
        return found
    merged: list[Interval] = []
    for first, last in found:
        if merged and first <= merged[-1][1] + 1:
            if last > merged[-1][1]:
                merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged


def subtract(intervals: Iterable[Interval], holes: Iterable[Interval]) -> list[Interval]:
    """`intervals` without `holes`, merged."""
    cut, whole = merge(holes), merge(intervals)
    if not cut:
        return whole
    left: list[Interval] = []
    at = 0
    for first, last in whole:
        while at < len(cut) and cut[at][1] < first:
            at += 1
        start, hole = first, at
        while hole < len(cut) and cut[hole][0] <= last:
            if cut[hole][0] > start:
                left.append((start, cut[hole][0] - 1))
            start = max(start, cut[hole][1] + 1)
            hole += 1
        if start <= last:
            left.append((start, last))
    return left


def lost(former: Sequence[Interval], now: Sequence[Interval]) -> list[Interval]:
    """What of the former intervals is in none of now, both merged; costs little where most of them are the same."""
    gone = set(former).difference(now)
    return subtract(gone, set(now).difference(former)) if gone else []


def replaced(
    intervals: Sequence[Interval], windows: Sequence[Interval], within: Sequence[Interval]
) -> tuple[Interval, ...]:
    """Merged intervals, with what lies in the windows (merged too) given anew; costs little where these are few."""
    if len(windows) * 8 > len(intervals):
        return tuple(merge((*subtract(intervals, windows), *within)))
    left = list(intervals)
    for window in reversed(windows):
        # All that the window touches, and what may join it at its ends.
        start = max(bisect_right(left, (window[0], -1)) - 1, 0)
        stop = bisect_right(left, (window[1] + 1, LAST[6]))
        fresh = intersect(within, [window])
        left[start:stop] = merge((*subtract(left[start:stop], [window]), *fresh))
    return tuple(left)


def intersect(intervals: Sequence[Interval], windows: Sequence[Interval]) -> list[Interval]:
    """What of merged intervals lies within merged windows; costs little where the windows are few."""
    found: list[Interval] = []
    for first, last in windows:
        if intervals and first <= intervals[0][0] and intervals[-1][1] <= last:
            return list(intervals)
        at = max(bisect_right(intervals, (first, LAST[6])) - 1, 0)
        while at < len(intervals) and intervals[at][0] <= last:
            low, high = max(intervals[at][0], first), min(intervals[at][1], last)
            if low <= high:
                found.append((low, high))
            at += 1
    return found


def covers(intervals: Sequence[Interval], value: int) -> bool:
    return any(first <= value <= last for first, last in intervals)


def address_text(version: int, value: int) -> str:
    return str(IPv4Address(value) if version == 4 else IPv6Address(value))


@lru_cache(maxsize=REMEMBERED)
def interval_text(version: int, interval: Interval) -> str:
    """In nft's words: one address, a prefix where it is one, else `a-b`."""
    first, last = interval
    size = last - first + 1
    if size == 1:
        return address_text(version, first)
    if size & (size - 1) == 0 and first % size == 0:
        return f"{address_text(version, first)}/{(32 if version == 4 else 128) - size.bit_length() + 1}"
    return f"{address_text(version, first)}-{address_text(version, last)}"


def ports_text(interval: Interval) -> str:
    first, last = interval
    return str(first) if first == last else f"{first}-{last}"


def address_elements(version: int, prefixes: Iterable[Prefix]) -> dict[str, str]:
    """Elements of a set of addresses: those of the prefixes of one IP version, merged."""
    found = [prefix_interval(prefix) for prefix in prefixes if prefix.version == version]
    return {interval_text(version, item): "" for item in merge(found)}
