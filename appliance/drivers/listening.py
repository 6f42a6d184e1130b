"""Which addresses a TCP listener binds so that `::` means both IP versions, as people expect.

asyncio binds an IPv6 wildcard to IPv6 alone, and a host may have IPv6 switched off.
"""

from __future__ import annotations

import socket

ANY_V4 = "0.0.0.0"  # noqa: S104  # the wildcard by its name
ANY_V6 = "::"


def listen_hosts(ip: str) -> list[str]:
    """`ip` itself, or for `::` the wildcards of every IP version that this host has."""
    if ip != ANY_V6:
        return [ip]
    return [ANY_V4, ANY_V6] if _has_ipv6() else [ANY_V4]


def _has_ipv6() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind((ANY_V6, 0))
    except OSError:
        return False
    return True
