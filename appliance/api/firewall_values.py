"""Value types of routes outside the mesh, firewall and NAT. Part of `values`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EgressGuard:
    """Nothing that this host sends or forwards leaves outside the tunnel, whether or not a peer takes it, and also
    while the daemon is dead. Excepted are the daemon's own connections, answers to others, and attached networks for
    the hosts behind this one.

    `lan_access`: this host, too, may begin connections to attached networks. `site`: hosts behind this one leave by
    the tunnel too; forwarding is switched on for them. Of these, `hosts` alone, or all when it is empty, but not
    `not_hosts`: each an address, a prefix, a hardware address or an interface of this host. Others keep the host's own
    routes, and so do the destinations `direct` (prefixes) for everybody. `gateway_direct`: so does everything that this
    host itself sends; its resolvers then ask nobody outside the tunnel for hosts behind it (see `site_shielded`).
    """

    lan_access: bool = False
    site: bool = False
    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    direct: tuple[str, ...] = ()
    gateway_direct: bool = False


@dataclass(frozen=True, slots=True)
class EgressUplink:
    """What those who use this node as their exit go on by; by nothing else, whether or not it is there, and also while
    the daemon is dead. What the site itself serves is reached as ever.

    Either `interface`, a link of the host; or `port`, where a listener of scope `exit` on 127.0.0.1 and one on ::1 take
    their TCP connections, and `udp_port`, that of `HostHandle.take_datagrams`, 0: their UDP is refused, as all else is.
    `resolvers` ("ip:port", by TCP, over the same link) look names up
    for them; none: nobody does.
    """

    interface: str = ""
    port: int = 0
    resolvers: tuple[str, ...] = ()
    udp_port: int = 0


@dataclass(frozen=True, slots=True)
class PrefixTranslation:
    """The mesh knows the network `inside` of this site as `outside`: host by host, with the same host bits. Both are of
    one IP version and one length."""

    inside: str
    outside: str


@dataclass(frozen=True, slots=True)
class TrafficShape:
    """What this host sends through the tunnel to these destinations, together, is held to a rate.

    `name`, no other plugin's: by it `HostHandle.shape_traffic` tells what passed; "": not at all.
    """

    destinations: tuple[str, ...]
    rate_kbit: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class FirewallPart:
    """Wishes toward firewall and NAT.

    `forwarded`: prefixes toward which overlay traffic is forwarded. `snat`: whether that traffic leaves with the
    gateway's own address; None: no opinion. `guard`: what keeps traffic in the tunnel while an exit is in use.
    `service_addresses`: of the mesh's service addresses (100.100.100.100, fd7a:115c:a1e0::53) those that this host
    answers at; peers do not reach them. `translations`: networks of the site that have other addresses in the mesh;
    their outer prefixes are to be in `forwarded`. `shapes`: limits of what is sent; the first that fits counts.
    `uplink`: what those who use this exit go on by; None: the host's routes.
    """

    forwarded: tuple[str, ...] = ()
    snat: bool | None = None
    guard: EgressGuard | None = None
    service_addresses: tuple[str, ...] = ()
    translations: tuple[PrefixTranslation, ...] = ()
    shapes: tuple[TrafficShape, ...] = ()
    uplink: EgressUplink | None = None


@dataclass(frozen=True, slots=True)
class PacketDevice:
    """A network device of a plugin, by a name of at most 15 characters.

    What the host has for `routes`, from the tunnel or else, comes out of the device; the tunnel's packet filter and the
    forwarded prefixes hold before that. What the plugin puts in is routed on; into the tunnel go only answers. Packets
    whose source lies in `masqueraded` leave the host with the host's own address.
    """

    name: str
    routes: tuple[str, ...] = ()
    masqueraded: tuple[str, ...] = ()
