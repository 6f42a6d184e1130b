"""Ports and protocols of rules (policy-and-management spec 1.4)."""

from __future__ import annotations

ANY_PORTS = ((0, 65535),)

PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "ipv4": 4,
    "ip-in-ip": 4,
    "tcp": 6,
    "egp": 8,
    "igp": 9,
    "udp": 17,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "ipv6-icmp": 58,
    "sctp": 132,
    "fc": 133,
}
_WITH_PORTS = frozenset({6, 17, 132})


def parse_ports(text: str) -> tuple[tuple[int, int], ...]:
    """`*`, or a comma list of `N` and `A-B`, as inclusive ranges. Raises `ValueError` with the spec's text."""
    if text.strip() == "*":
        return ANY_PORTS
    return tuple(_parse_range(part.strip()) for part in text.split(","))


def _parse_range(text: str) -> tuple[int, int]:
    first_text, dash, last_text = text.partition("-")
    first = _parse_port(first_text, text, "first")
    last = _parse_port(last_text, text, "last") if dash else first
    if first == 0:
        raise ValueError(f"port range \"{text}\": first port must be >0, or use '*' for wildcard")
    if last < first:
        raise ValueError(f'port range "{text}": first port is above the last')
    return first, last


def _parse_port(digits: str, shown: str, which: str) -> int:
    if not digits.isascii() or not digits.isdigit() or len(digits) > 5 or int(digits) > 65535:
        raise ValueError(f'port range "{shown}": invalid {which} integer')
    return int(digits)


def parse_protocol(text: str) -> tuple[int, ...]:
    """IANA numbers; "" gives () = the client's default set. Raises `ValueError`."""
    word = text.strip().lower()
    if not word:
        return ()
    if word in PROTOCOLS:
        return (PROTOCOLS[word],)
    if word.isascii() and word.isdigit() and word[0] != "0" and len(word) <= 3 and int(word) <= 255:
        return (int(word),)
    raise ValueError(f'unknown protocol: "{text}"')


def may_have_ports(protocol: tuple[int, ...]) -> bool:
    """Only TCP, UDP, SCTP or an absent protocol may carry specific ports."""
    return not protocol or _WITH_PORTS.issuperset(protocol)
