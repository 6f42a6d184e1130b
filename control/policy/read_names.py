"""Sections that define names: groups, hosts, ipsets, tagOwners, postures (policy spec 1.2, 1.9)."""

from __future__ import annotations

from ipaddress import ip_address, summarize_address_range
from typing import TYPE_CHECKING

from control.policy.postures import MAX_ASSERTIONS, Assertion, Posture, parse_assertion
from control.policy.problems import did_you_mean
from control.policy.ranges import Range, networks_of, prefix_range, union, without
from control.policy.selectors import TAG, Kind, parse_network

if TYPE_CHECKING:
    from appliance.types.addresses import Prefix
    from control.policy.hujson import Member, Value
    from control.policy.problems import Place
    from control.policy.reader import Reader
    from control.policy.selectors import Selector

MAX_NESTING = 32
"""IP sets inside each other."""
APPROVERS = frozenset({Kind.USER, Kind.DOMAIN, Kind.GROUP, Kind.TAG, Kind.MEMBER, Kind.ROLE})
APPROVERS_MEND = "users, groups, tags, autogroup:member and roles are"


def read_groups(reader: Reader, section: Value | None) -> dict[str, tuple[str, ...]]:
    groups: dict[str, tuple[str, ...]] = {}
    for member in reader.unique_members(section, "groups"):
        name = member.name
        if not name.startswith("group:") or name == "group:":
            bare = name.removeprefix("group:")
            reader.problem(member.place, f'not a group name: "{name}"', f'write "group:{bare}"')
        groups[name] = tuple(_group_members(reader, name, member.value))
    return groups


def _group_members(reader: Reader, group: str, value: Value) -> list[str]:
    users: list[str] = []
    for text, place in reader.strings(value, f'groups["{group}"]'):
        if text.startswith("group:"):
            reader.problem(place, f'groups["{group}"]: "{text}": group members cannot be recursive', "list its users")
        elif "@" not in text:
            reader.problem(place, f'groups["{group}"]: "{text}" is not a user', f'write "{text}@"')
        else:
            user = text.removesuffix("@")
            reader.users.setdefault(user, place)
            users.append(user)
    return users


def read_hosts(reader: Reader, section: Value | None) -> dict[str, Prefix]:
    hosts: dict[str, Prefix] = {}
    for member in reader.unique_members(section, "hosts"):
        if "@" in member.name or ":" in member.name or not member.name:
            reader.problem(member.place, f'not a host name: "{member.name}"', "without @ and :")
        text = reader.text(member.value, f'hosts["{member.name}"]').strip()
        prefix = parse_network(text)
        if prefix is None:
            mend = "write an address or a network with zero host bits, as 10.0.0.0/8"
            reader.problem(member.value.place, f'hosts["{member.name}"]: not an address: "{text}"', mend)
        else:
            hosts[member.name] = prefix
    return hosts


def read_tag_owners(reader: Reader, members: tuple[Member, ...]) -> dict[str, tuple[Selector, ...]]:
    owners: dict[str, tuple[Selector, ...]] = {}
    for member in members:
        what = f'tagOwners["{member.name}"]'
        if not TAG.fullmatch(member.name):
            text = f"{what}: tag names must start with a letter, after 'tag:'"
            reader.problem(member.place, text, 'write "tag:name" with letters, digits and -')
        owners[member.name] = reader.selectors(member.value, what, APPROVERS, APPROVERS_MEND)
    return owners


def read_postures(reader: Reader, section: Value | None) -> dict[str, Posture]:
    postures: dict[str, Posture] = {}
    for member in reader.unique_members(section, "postures"):
        what = f'postures["{member.name}"]'
        if not member.name.startswith("posture:") or member.name == "posture:":
            bare = member.name.removeprefix("posture:")
            reader.problem(member.place, f'not a posture name: "{member.name}"', f'write "posture:{bare}"')
        texts = reader.strings(member.value, what)
        if not texts:
            reader.problem(member.value.place, f"{what} has no assertion", "add one, as \"node:os == 'linux'\"")
        if len(texts) > MAX_ASSERTIONS:
            reader.problem(member.value.place, f"{what} has more than {MAX_ASSERTIONS} assertions", "split it")
        found = (_assertion(reader, text, place, what) for text, place in texts[:MAX_ASSERTIONS])
        postures[member.name] = Posture(tuple(one for one in found if one is not None))
    return postures


def _assertion(reader: Reader, text: str, place: Place, what: str) -> Assertion | None:
    try:
        return parse_assertion(text)
    except ValueError as error:
        reason, _, mend = str(error).partition("; ")
        reader.problem(place, f"{what}: {reason}", mend)
        return None


class IpSetReader:
    """IP sets may use each other, in any order; a cycle is a problem."""

    def __init__(self, reader: Reader, hosts: dict[str, Prefix], section: Value | None) -> None:
        self._reader = reader
        self._hosts = hosts
        self._members = {member.name: member for member in reader.unique_members(section, "ipsets")}
        self._done: dict[str, list[tuple[int, Range]]] = {}
        self._open: set[str] = set()

    def read(self) -> dict[str, tuple[Prefix, ...]]:
        found: dict[str, tuple[Prefix, ...]] = {}
        for name, member in self._members.items():
            if not name.startswith("ipset:") or name == "ipset:":
                bare = name.removeprefix("ipset:")
                self._reader.problem(member.place, f'not an IP set name: "{name}"', f'write "ipset:{bare}"')
            found[name] = networks_of(self._ranges(name))
        return found

    def _ranges(self, name: str) -> list[tuple[int, Range]]:
        """(IP version, range) of the set, evaluated left to right."""
        if name in self._done:
            return self._done[name]
        member = self._members[name]
        self._open.add(name)
        ranges: list[tuple[int, Range]] = []
        for text, place in self._reader.strings(member.value, f'ipsets["{name}"]'):
            word, _, rest = text.partition(" ")
            removes = word == "remove"
            item = rest.strip() if word in ("add", "remove") else text
            part = self._item(name, item, place)
            ranges = without(ranges, part) if removes else [*ranges, *part]
        self._open.discard(name)
        self._done[name] = union(ranges)
        return self._done[name]

    def _item(self, name: str, text: str, place: Place) -> list[tuple[int, Range]]:
        what = f'ipsets["{name}"]: '
        if text in self._open:
            self._reader.problem(place, f'{what}"{text}" contains itself', "break the circle")
            return []
        if text in self._members and len(self._open) >= MAX_NESTING:
            self._reader.problem(place, f"{what}nested deeper than {MAX_NESTING} sets", "join some of them")
            return []
        if text in self._members:
            return self._ranges(text)
        prefix = self._hosts.get(text) or parse_network(text)
        if prefix is not None:
            return [(prefix.version, prefix_range(prefix))]
        span = _parse_range(text)
        if span is None:
            known = (*self._members, *self._hosts)
            mend = did_you_mean(text, known) or "write an address, a network, a range a-b, a host or another ipset:"
            self._reader.problem(place, f'{what}not an address: "{text}"', mend)
            return []
        return [span]


def _parse_range(text: str) -> tuple[int, Range] | None:
    first_text, dash, last_text = text.partition("-")
    try:
        first, last = ip_address(first_text.strip()), ip_address(last_text.strip())
        next(iter(summarize_address_range(first, last)))
    except (ValueError, TypeError):
        return None
    return (first.version, (int(first), int(last))) if dash else None
