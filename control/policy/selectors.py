"""Selectors: the words that name users, nodes and networks (policy-and-management spec 1.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from control.policy.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from appliance.types.addresses import Prefix

TAG = re.compile(r"tag:[A-Za-z][A-Za-z0-9-]*")
SERVICE = re.compile(r"svc:[A-Za-z0-9][A-Za-z0-9-]{0,62}")
ROLE_AUTOGROUPS = frozenset({"owner", "admin", "it-admin", "network-admin", "billing-admin", "auditor"})


class Kind(StrEnum):
    """What a selector is; `SHARED` nodes do not exist here, so it selects nobody."""

    ANY = "*"
    PREFIX = "prefix"
    IPSET = "ipset"
    USER = "user"
    DOMAIN = "user:*@domain"
    GROUP = "group"
    TAG = "tag"
    SERVICE = "svc"
    MEMBER = "autogroup:member"
    TAGGED = "autogroup:tagged"
    INTERNET = "autogroup:internet"
    SELF = "autogroup:self"
    DANGER_ALL = "autogroup:danger-all"
    SHARED = "autogroup:shared"
    ROLE = "role"


PEOPLE = frozenset({Kind.USER, Kind.DOMAIN, Kind.GROUP, Kind.MEMBER, Kind.ROLE})
NETWORKS = frozenset({Kind.PREFIX, Kind.IPSET})


@dataclass(frozen=True, slots=True)
class Selector:
    """One selector; `value` is the name, `networks` the literal addresses (hosts and IP sets are resolved)."""

    kind: Kind
    value: str = ""
    networks: tuple[Prefix, ...] = ()

    @property
    def is_people(self) -> bool:
        """Whether it names nodes through their users."""
        return self.kind in PEOPLE

    @property
    def is_network(self) -> bool:
        """Whether it means literal addresses, whoever has them."""
        return self.kind in NETWORKS

    @property
    def text(self) -> str:
        """As people write it."""
        if self.kind is Kind.USER:
            return self.value if "@" in self.value else self.value + "@"
        return {Kind.ROLE: f"autogroup:{self.value}", Kind.DOMAIN: f"user:*@{self.value}"}.get(
            self.kind, self.value or str(self.kind)
        )


class SelectorError(ValueError):
    """`text` is what the spec's error texts say; `mend` what to write."""

    def __init__(self, text: str, mend: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Names:
    """What the document defines: group names, host aliases, tags with owners, IP sets."""

    groups: Collection[str]
    hosts: Mapping[str, Prefix]
    tags: Collection[str]
    ipsets: Mapping[str, tuple[Prefix, ...]]


_AUTOGROUPS = {
    "member": Kind.MEMBER,
    "members": Kind.MEMBER,
    "tagged": Kind.TAGGED,
    "internet": Kind.INTERNET,
    "self": Kind.SELF,
    "danger-all": Kind.DANGER_ALL,
    "shared": Kind.SHARED,
}


def parse_selector(text: str, names: Names) -> Selector:
    """Classify and resolve in the order of the spec. Raises `SelectorError`."""
    text = text.strip()
    prefix = parse_network(text)
    if prefix is not None:
        return Selector(Kind.PREFIX, text, (prefix,))
    if text == "*":
        return Selector(Kind.ANY)
    if text.startswith("user:*@"):
        return _domain(text)
    if "@" in text and not text.startswith("group:"):
        return Selector(Kind.USER, text.removesuffix("@"))
    return _named(text, names)


def _named(text: str, names: Names) -> Selector:
    if text.startswith("group:"):
        return _defined(Kind.GROUP, text, names.groups)
    if text.startswith("tag:"):
        return _defined(Kind.TAG, text, names.tags)
    if text.startswith("autogroup:"):
        return _autogroup(text)
    if text.startswith("ipset:"):
        return Selector(Kind.IPSET, _defined(Kind.IPSET, text, names.ipsets).value, names.ipsets[text])
    if text.startswith("svc:"):
        if not SERVICE.fullmatch(text):
            raise SelectorError(f'not a service name: "{text}"', 'write "svc:name" with letters, digits and -')
        return Selector(Kind.SERVICE, text)
    return _host(text, names)


def _domain(text: str) -> Selector:
    domain = text.removeprefix("user:*@").casefold()
    if not domain or any(letter in domain for letter in "*@ "):
        raise SelectorError(f'not a domain: "{text}"', 'write "user:*@example.org"')
    return Selector(Kind.DOMAIN, domain)


_SECTIONS = {Kind.GROUP: "groups", Kind.TAG: "tagOwners", Kind.IPSET: "ipsets"}


def _defined(kind: Kind, text: str, known: Collection[str]) -> Selector:
    if text not in known:
        mend = did_you_mean(text, known) or f'add "{text}" to {_SECTIONS[kind]}'
        raise SelectorError(f'{kind.value} not found: "{text}"', mend)
    return Selector(kind, text)


def _autogroup(text: str) -> Selector:
    name = text.removeprefix("autogroup:")
    if name in _AUTOGROUPS:
        return Selector(_AUTOGROUPS[name])
    if name in ROLE_AUTOGROUPS:
        return Selector(Kind.ROLE, name)
    mend = did_you_mean(name, (*_AUTOGROUPS, *ROLE_AUTOGROUPS))
    raise SelectorError(f'unknown autogroup: "{text}"', mend)


def _host(text: str, names: Names) -> Selector:
    if text in names.hosts:
        return Selector(Kind.PREFIX, text, (names.hosts[text],))
    if "/" in text:
        raise SelectorError(f'not a network: "{text}"', "write the network with its host bits zero, as 10.0.0.0/8")
    if ":" in text or not text:
        raise SelectorError(f'invalid alias: "{text}"', "a user, group:, tag:, autogroup:, host, address or *")
    mend = did_you_mean(text, names.hosts) or f'add it to hosts; a user is written "{text}@"'
    raise SelectorError(f'host not found: "{text}"', mend)


def parse_network(text: str) -> Prefix | None:
    """An address as a single-address prefix, a CIDR with zero host bits, else None."""
    try:
        return ip_network(text) if "/" in text else ip_network(ip_address(text))
    except ValueError:
        return None
