"""One-to-one translation of a network: how it is written and told to peers, and the names of its hosts.

A router tells each translation as an entry of `Hostinfo.Services`, `INSIDE as OUTSIDE`, which control servers pass on
to peers as it is. A host's name spells its own address and the router's name: `192-168-1-10-via-gateway-b`, or
`fd00-1--10-via-gateway-b`.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from appliance.types.addresses import Address, Prefix

SERVICE = "waypost-translation"
"""The proto of such an entry; its port is a number from 1 on."""
MAX_TEXT = 128
_SEPARATOR = "-via-"
_LONGEST = 39
"""Characters of an IPv6 address."""

Pair = tuple[Prefix, Prefix]
"""Inside and outside, of one IP version and one length."""


def pair_text(inside: object, outside: object) -> str:
    return f"{inside} as {outside}"


def parse_pair(text: str) -> Pair | None:
    """None for what makes no sense."""
    words = text[:MAX_TEXT].split(" ")
    if len(words) != 3 or words[1] != "as":
        return None
    try:
        inside, outside = ip_network(words[0]), ip_network(words[2])
    except ValueError:
        return None
    return (inside, outside) if (inside.version, inside.prefixlen) == (outside.version, outside.prefixlen) else None


def moved(address: Address, source: Prefix, target: Prefix) -> Address:
    """The address of `target` with the host bits that `address` has in `source`."""
    return target[int(address) - int(source.network_address)]


def host_label(address: Address, router: str) -> str:
    return str(address).replace(":" if address.version == 6 else ".", "-") + _SEPARATOR + router


def parse_host_label(label: str) -> tuple[Address, str] | None:
    """The host's own address and the router's name; None for any other label."""
    host, separator, router = label.partition(_SEPARATOR)
    if not separator or not router or len(host) > _LONGEST:
        return None
    for mark in (".", ":"):
        try:
            return ip_address(host.replace("-", mark)), router
        except ValueError:
            continue
    return None


def example_label(inside: Prefix, router: str) -> str:
    """The name of the first host."""
    return host_label(inside[1] if inside.num_addresses > 2 else inside[0], router)
