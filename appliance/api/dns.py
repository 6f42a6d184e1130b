"""Value types about names: what control sets for them, and what the host's programs are told. Part of `values`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class DnsUpstream:
    """A resolver: an IP address, ip:port, or an `http(s)://` URL for DNS over HTTPS.

    `with_exit_node`: to be asked also while an exit node is in use.
    """

    address: str
    with_exit_node: bool = False


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """What control sets for names. Names have no dot at their ends.

    `resolvers` are for all names; `fallback` where nothing else is; `routes` maps a suffix to its resolvers, none
    meaning that the node itself answers; `domains` are search domains; `proxied`: nodes' names are answered;
    `records` are extra (name, type, value).
    """

    resolvers: tuple[DnsUpstream, ...] = ()
    fallback: tuple[DnsUpstream, ...] = ()
    routes: dict[str, tuple[DnsUpstream, ...]] = field(default_factory=dict)
    domains: tuple[str, ...] = ()
    proxied: bool = False
    records: tuple[tuple[str, str, str], ...] = ()


class ResolverWay(StrEnum):
    """How the host's programs are told of a resolver."""

    IMAGE = "image"
    """A file of the helper's own, which /etc/resolv.conf of our images points to."""
    FILE = "file"
    """/etc/resolv.conf is replaced, the former one kept beside it."""
    RESOLVED = "resolved"
    """systemd-resolved, by D-Bus; the only way that can send some domains alone to the resolver."""
    NETWORK_MANAGER = "network-manager"
    """NetworkManager's global DNS configuration, by D-Bus."""
    RESOLVCONF = "resolvconf"
    """The program resolvconf, Debian's or openresolv."""


@dataclass(frozen=True, slots=True)
class ResolverWish:
    """What the host's programs are to use. Without `nameservers` everything is put back as it was.

    `search` are search domains. `domains` not empty: only names below them go to these nameservers.
    """

    way: ResolverWay = ResolverWay.FILE
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """What a resolver said about `name`. Names are lower case without a dot at their ends, lifetimes are seconds.

    `addresses` are (owner, address, lifetime), `aliases` (owner, target) of CNAME records.
    """

    name: str
    addresses: tuple[tuple[str, str, int], ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DnsAnswers:
    """Answers in their order; `number` is the last one's, to be given when asking for the next."""

    number: int
    answers: tuple[DnsAnswer, ...] = ()
