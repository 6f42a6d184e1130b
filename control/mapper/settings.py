"""What an operator tells all nodes through the map: DNS, notes on client versions, notices. From the config file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """An address record answered by the nodes themselves; `type` is A or AAAA."""

    name: str
    type: str
    value: str


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """Names as in DNS, without dots at their ends; resolvers are addresses or `https://` URLs.

    magic: the nodes' own names are answered by the nodes.
    nameservers: for all other names. override_local: instead of what a node's network gives, else only where it gives
        nothing. use_with_exit_node: also while an exit node is in use.
    split: suffix to resolvers. search: further search domains. records: extra names.
    exit_filtered: suffixes that exit nodes refuse to look up for others; a leading dot means all names below.
    """

    magic: bool = True
    nameservers: tuple[str, ...] = ()
    override_local: bool = True
    use_with_exit_node: bool = False
    split: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    search: tuple[str, ...] = ()
    records: tuple[DnsRecord, ...] = ()
    exit_filtered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClientRelease:
    """The version that clients should run, as 1.98.2; "" = say nothing."""

    latest: str = ""
    urgent: bool = False
    notify_url: str = ""
    notify_text: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """A message of the operator that every client shows; `severity` is low, medium or high."""

    id: str
    title: str
    text: str
    severity: str = "low"
    url: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class MapSettings:
    """`stock` and `gateways`: releases of the field's clients and of our own. certificates: nodes may ask for
    certificates of their names, whose challenges this server publishes."""

    dns: DnsSettings = field(default_factory=DnsSettings)
    stock: ClientRelease = field(default_factory=ClientRelease)
    gateways: ClientRelease = field(default_factory=ClientRelease)
    notices: tuple[Notice, ...] = ()
    certificates: bool = False
