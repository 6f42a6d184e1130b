"""Pure: answers that would let a page of the Internet reach hosts of the site (DNS rebinding)."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv6Address

from appliance.proto.dns import Reply, is_below
from appliance.types.addresses import CGNAT_V4, Address, unmap

LOCAL_SUFFIXES = ("lan", "local", "internal", "home.arpa", "localdomain", "home", "corp", "in-addr.arpa", "ip6.arpa")
"""Names below these are of sites, not of the Internet."""


def is_private(address: Address) -> bool:
    """Whether only this site, this host or the mesh has it."""
    address = unmap(address)
    if isinstance(address, IPv6Address):
        return address.is_private or address.is_link_local or address.is_loopback or address.is_unspecified
    return address.is_private or address.is_link_local or address in CGNAT_V4


def rebinds(reply: Reply, name: str, allowed: Collection[str]) -> bool:
    """Whether `name`, looked up on the Internet, has a private address; names of sites and allowed ones may."""
    if "." not in name or any(is_below(name, suffix) for suffix in (*LOCAL_SUFFIXES, *allowed)):
        return False
    return any(is_private(address) for _, address, _ in reply.addresses())
