"""Pure: answers that would let a page of the Internet reach hosts of the site (DNS rebinding)."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network

from appliance.proto.dns import Reply, is_below
from appliance.types.addresses import CGNAT_V4, Address, Prefix, unmap

LOCAL_SUFFIXES = ("lan", "local", "internal", "home.arpa", "localdomain", "home", "corp", "in-addr.arpa", "ip6.arpa")
"""Names below these are of sites, not of the Internet."""
_LOCAL_ENDS = tuple(f".{suffix}" for suffix in LOCAL_SUFFIXES)

_PRIVATE: tuple[Prefix, ...] = (
    *map(IPv4Network, ("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")),
    CGNAT_V4,
    *map(IPv6Network, ("::/127", "fc00::/7", "fe80::/10")),
)


def is_private(address: Address) -> bool:
    """Whether only this site, this host or the mesh has it."""
    address = unmap(address)
    return any(address.version == prefix.version and address in prefix for prefix in _PRIVATE)


def rebinds(reply: Reply, name: str, allowed: Collection[str]) -> bool:
    """Whether `name`, looked up on the Internet, has a private address; names of sites and allowed ones may."""
    if "." not in name or f".{name}".endswith(_LOCAL_ENDS) or any(is_below(name, suffix) for suffix in allowed):
        return False
    return any(is_private(address) for _, address, _ in reply.addresses())
