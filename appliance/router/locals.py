"""Which destinations a packet from the tunnel may have at all (node-os spec 1.4, steps 1 and 2)."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from appliance.router.model import RouterModel
from appliance.router.ranges import Interval, merge, prefix_interval, subtract
from appliance.types.addresses import CGNAT_V4, DEFAULT_V4, DEFAULT_V6, ULA_V6, Prefix, is_overlay

_NEVER: tuple[Prefix, ...] = (IPv4Network("224.0.0.0/4"), IPv6Network("ff00::/8"), IPv6Network("fe80::/10"))
_LINK_LOCAL = IPv4Network("169.254.0.0/16")
_METADATA = IPv4Network("169.254.169.254/32")
_NOT_PUBLIC: tuple[Prefix, ...] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    _LINK_LOCAL,
    IPv4Network("224.0.0.0/4"),
    CGNAT_V4,
    IPv6Network("fe80::/10"),
    IPv6Network("ff00::/8"),
    ULA_V6,
)


def local_destinations(model: RouterModel, version: int) -> list[Interval]:
    """Own addresses and advertised routes; of an advertised `/0` only what lies on the public Internet."""
    wanted = [prefix for prefix in (*model.addresses, *model.advertised) if prefix.version == version]
    default = DEFAULT_V4 if version == 4 else DEFAULT_V6
    plain = [prefix_interval(prefix) for prefix in wanted if prefix != default]
    if default in wanted:
        plain += _internet(model, version)
    return subtract(plain, _unroutable(version))


def _internet(model: RouterModel, version: int) -> list[Interval]:
    """All but the host's LANs and what is not public; the host's own public addresses stay in."""
    hosts = [item for item in model.host_addresses if item.version == version]
    lans = [item.network for item in hosts if item.network.num_addresses > 1 and not is_overlay(item.ip)]
    default = DEFAULT_V4 if version == 4 else DEFAULT_V6
    outside = subtract([prefix_interval(default)], [prefix_interval(lan) for lan in lans])
    own = [(int(item.ip), int(item.ip)) for item in hosts]
    private = [prefix_interval(prefix) for prefix in _NOT_PUBLIC if prefix.version == version]
    return subtract(merge([*outside, *own]), private)


def _unroutable(version: int) -> list[Interval]:
    never = [prefix_interval(prefix) for prefix in _NEVER if prefix.version == version]
    if version == 4:
        never += subtract([prefix_interval(_LINK_LOCAL)], [prefix_interval(_METADATA)])
    return never
