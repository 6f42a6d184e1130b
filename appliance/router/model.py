"""What the router brings about, as one frozen value. Everything in nftables and rtnetlink follows from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface

from appliance.ports.firewall import NftChain, NftSet
from appliance.types.addresses import Address, AddrPort, Prefix
from appliance.types.netmap import FilterRule
from appliance.types.senders import Senders

TABLE_FAMILY = "inet"
TABLE_NAME = "waypost"
ROUTE_TABLE = 52
EXIT_TABLE = 54
"""What those who use this exit go on by. Table 53 is `appliance.uplinks`'."""
SITE_TABLE = 55
"""What hosts behind this one leave by while this one leaves directly."""
OWN_FIRST_TABLE = 56
"""What goes into the tunnel where this host has no route of its own of that length."""
GUARD_NAME = "waypost_guard"
"""A table of its own: it stays when everything else of a run that died is cleaned away."""
GUARD_METRIC = 1 << 30
"""Of the routes that end in nothing where no exit serves."""
MARK_MASK = 0xFF0000
MARK_FORWARDED = 0x40000
"""From the tunnel; may be forwarded and masqueraded (node-os spec 1.1)."""
MARK_BYPASS = 0x80000
"""The daemon's own sockets: never into the tunnel."""
MARK_EXIT = 0x20000
"""Goes on by the exit's own uplink."""


class ForeignMode(StrEnum):
    """What to do where other firewalls of this host would drop tunnel traffic (design.md 2, row 3)."""

    DETECT = "detect"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Split:
    """Which hosts behind this one use the exit: `hosts`, or all when it names nobody, but never `not_hosts`."""

    hosts: Senders = field(default_factory=Senders)
    not_hosts: Senders = field(default_factory=Senders)


@dataclass(frozen=True, slots=True)
class Guard:
    """What this host sends or forwards leaves through the tunnel or not at all; so also when the daemon has died.

    `near` keeps the host's own routes: attached networks and those that it serves. `inside` is reached through the
    tunnel with the senders' own addresses; what goes to all other places takes the node's. `lan_access`: this host may
    begin connections to `near`. `site`: forwarding is switched on, so that hosts behind it leave by the tunnel too.
    `direct` are destinations outside that keep the host's own routes; `split` None: the exit is for all hosts.
    `gateway_direct`: what this host itself sends keeps the host's own routes too, and only what it forwards is held.
    """

    near: tuple[Prefix, ...] = ()
    inside: tuple[Prefix, ...] = ()
    lan_access: bool = False
    site: bool = False
    direct: tuple[Prefix, ...] = ()
    split: Split | None = None
    gateway_direct: bool = False


@dataclass(frozen=True, slots=True)
class ExitUplink:
    """What those who use this node as their exit go on by, and by nothing else; so also when the daemon has died.

    Either `interface`, a link of the host, with its `addresses` and the IP `versions` in which it is there now; or
    `port`, where a program on loopback takes their TCP connections, and `udp_port`, where it takes their UDP, 0: then
    that is refused, as all else is. `site` is reached as ever.
    """

    interface: str = ""
    addresses: tuple[Prefix, ...] = ()
    versions: frozenset[int] = frozenset()
    port: int = 0
    udp_port: int = 0
    site: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class SideDevice:
    """A device beside the tunnel's, which packets for `routes` go into. What comes out of it is routed on, into the
    tunnel only as answers; sources in `masqueraded` leave with the host's own address. `serial` tells a device from
    a former one of its name: the kernel forgets the routes with the device."""

    name: str
    routes: tuple[Prefix, ...] = ()
    masqueraded: tuple[Prefix, ...] = ()
    serial: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """What goes to these destinations through the tunnel is held, together, to a rate. Figures are told by `name`."""

    destinations: tuple[Prefix, ...]
    rate_kbit: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class RouterModel:
    """The state of one gateway's host.

    `addresses` are the node's own; `routes` go into the tunnel; `local_routes` are thrown back to the host's tables
    (connected LANs). `advertised` may be reached from the tunnel through this host. `cap_sources` gives the addresses
    of the peers that hold a node capability, for `cap:` sources. `jailed` peers reach nothing of their own will.
    `sources` are the only addresses that the tunnel lets in (peers and what they route), None when that is not known.
    Where `routes`, `jailed` and `sources` are a `PrefixSet`, a change of them costs what changes. Of `routes` those in
    `own_first` count where the host's main table has none of that length or longer; all go first while a `guard` holds.
    `peerapi` is open to every peer: the peer API authorises by itself. `host_addresses` are the other interfaces',
    needed when an exit (`/0`) is advertised. `guard` holds while an exit is in use, `exit_uplink` while this one has an
    uplink of its own. `inner_port`: where the kernel
    engine takes what is not WireGuard, 0 = none. `log_group`: where the kernel shows refused TCP connections, 0 =
    nowhere. `service_addresses` of the mesh are this host's own; what comes for them from the tunnel is dropped.
    `devices` must exist. `translations` are pairs of a network of the site and the one that the mesh knows it as.
    Of `shapes` the first that fits a packet counts.
    `extra` are further chains and sets of the same table, whose names must not collide with ours.
    """

    interface: str = "waypost0"
    mtu: int = 1280
    addresses: tuple[Prefix, ...] = ()
    routes: Collection[Prefix] = ()
    local_routes: tuple[Prefix, ...] = ()
    own_first: frozenset[Prefix] = frozenset()
    advertised: tuple[Prefix, ...] = ()
    host_addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    rules: tuple[FilterRule, ...] = ()
    cap_sources: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    jailed: Collection[Prefix] = ()
    sources: Collection[Prefix] | None = None
    peerapi: tuple[AddrPort, ...] = ()
    shields_up: bool = False
    snat: bool = True
    stateful: bool = False
    drop_cgnat: bool = True
    wireguard_port: int = 0
    inner_port: int = 0
    log_group: int = 0
    service_addresses: tuple[Address, ...] = ()
    foreign: ForeignMode = ForeignMode.DETECT
    guard: Guard | None = None
    devices: tuple[SideDevice, ...] = ()
    translations: tuple[tuple[Prefix, Prefix], ...] = ()
    shapes: tuple[Shape, ...] = ()
    exit_uplink: ExitUplink | None = None
    extra: tuple[NftChain | NftSet, ...] = ()

    @property
    def has_guard(self) -> bool:
        """Whether there is a table that must stand while no process does."""
        return self.guard is not None or self.exit_uplink is not None

    @property
    def udp_ports(self) -> tuple[int, ...]:
        """What must be open to the network for the tunnel, as the host's input chains see it."""
        return tuple(port for port in (self.wireguard_port, self.inner_port) if port)

    @property
    def forwards(self) -> frozenset[int]:
        """IP versions in which this host forwards: it advertises more than single addresses of its own."""
        served = {prefix.version for prefix in self.advertised if prefix not in self.addresses}
        served |= {prefix.version for device in self.devices for prefix in device.routes}
        return frozenset(served | {4, 6}) if self.guard is not None and self.guard.site else frozenset(served)
