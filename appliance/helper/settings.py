"""Kernel settings that the helper writes: those that the router sets or gives back, with the values that they have.

Anything else below /proc/sys is refused, whoever asks.
"""

from __future__ import annotations

import re

_INTERFACE = r"(?!\.{1,2}/)[^/\x00-\x20\x7f]{1,15}"
"""What the kernel takes as an interface's name, `all` and `default` included."""

_ALLOWED: tuple[tuple[re.Pattern[str], frozenset[str]], ...] = tuple(
    (re.compile(pattern), frozenset(values.split()))
    for pattern, values in (
        (r"net/ipv4/ip_forward", "0 1 2"),
        (r"net/ipv6/conf/all/forwarding", "0 1 2"),
        # Written along by the kernel when the two above change, and given back one by one.
        (rf"net/ipv4/conf/{_INTERFACE}/forwarding", "0 1"),
        (rf"net/ipv6/conf/{_INTERFACE}/forwarding", "0 1 2"),
        (r"net/ipv4/conf/all/accept_redirects", "0 1"),
        # Turned off by the kernel when a WireGuard device goes up, and given back.
        (r"net/ipv4/conf/all/send_redirects", "1"),
        (rf"net/ipv6/conf/{_INTERFACE}/accept_ra", "0 1 2"),
        (rf"net/ipv4/conf/{_INTERFACE}/src_valid_mark", "0 1"),
        (rf"net/ipv4/conf/(?!all/|default/){_INTERFACE}/rp_filter", "0 1 2"),
        (rf"net/ipv6/conf/{_INTERFACE}/addr_gen_mode", "1"),
    )
)


def may_set(key: str, value: str) -> bool:
    """Whether `value` may be written to `key`, a path below /proc/sys."""
    return any(pattern.fullmatch(key) and value in values for pattern, values in _ALLOWED)
