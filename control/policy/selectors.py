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
ROLE_AUTOGROUPS = frozenset({"owner", "admin", "it-admin", "network-admin", "billing-admin", "auditor"})


class Kind(StrEnum):
    ANY = "*"
    PREFIX = "prefix"
    USER = "user"
    GROUP = "group"
    TAG = "tag"
    MEMBER = "autogroup:member"
    TAGGED = "autogroup:tagged"
    INTERNET = "autogroup:internet"
    SELF = "autogroup:self"
    DANGER_ALL = "autogroup:danger-all"
    ROLE = "role"


@dataclass(frozen=True, slots=True)
class Selector:
    """One selector; `value` is the user, group, tag or role name, `prefix` the network (hosts are resolved)."""

    kind: Kind
    value: str = ""
    prefix: Prefix | None = None

    @property
    def is_people(self) -> bool:
        """Whether it names nodes through their users."""
        return self.kind in (Kind.USER, Kind.GROUP, Kind.MEMBER, Kind.ROLE)


class SelectorError(ValueError):
    """`text` is what the spec's error texts say; `mend` what to write."""

    def __init__(self, text: str, mend: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Names:
    """What the document defines: group names, host aliases, tags with owners."""

    groups: Collection[str]
    hosts: Mapping[str, Prefix]
    tags: Collection[str]


_AUTOGROUPS = {
    "member": Kind.MEMBER,
    "members": Kind.MEMBER,
    "tagged": Kind.TAGGED,
    "internet": Kind.INTERNET,
    "self": Kind.SELF,
    "danger-all": Kind.DANGER_ALL,
}


def parse_selector(text: str, names: Names) -> Selector:
    """Classify and resolve in the order of the spec. Raises `SelectorError`."""
    text = text.strip()
    prefix = parse_network(text)
    if prefix is not None:
        return Selector(Kind.PREFIX, text, prefix)
    if text == "*":
        return Selector(Kind.ANY)
    if "@" in text:
        return Selector(Kind.USER, text.removesuffix("@"))
    if text.startswith("group:"):
        return _defined(Kind.GROUP, text, names.groups, "group")
    if text.startswith("tag:"):
        return _defined(Kind.TAG, text, names.tags, "tag")
    if text.startswith("autogroup:"):
        return _autogroup(text)
    return _host(text, names)


def _defined(kind: Kind, text: str, known: Collection[str], word: str) -> Selector:
    if text not in known:
        where = "groups" if kind is Kind.GROUP else "tagOwners"
        mend = did_you_mean(text, known) or f'add "{text}" to {where}'
        raise SelectorError(f'{word} not found: "{text}"', mend)
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
        return Selector(Kind.PREFIX, text, names.hosts[text])
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
