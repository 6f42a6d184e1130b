"""The policy document: HuJSON text to a checked `Policy`.

Sections served now: groups, hosts, tagOwners, acls, autoApprovers. Any other section is refused by name, so that
nobody believes a rule in force that is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from control.policy.hujson import Member, Value, parse_hujson
from control.policy.problems import Place, PolicyError, Problem, did_you_mean
from control.policy.selectors import TAG, Kind, Names, Selector, SelectorError, parse_network, parse_selector
from control.policy.traffic import may_have_ports, parse_ports, parse_protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from appliance.types.addresses import Prefix

SECTIONS = ("groups", "hosts", "tagOwners", "acls", "autoApprovers")
LATER_SECTIONS = (
    "grants", "ssh", "nodeAttrs", "tests", "sshTests", "postures", "defaultSrcPosture", "attrConfig", "ipsets",
    "derpMap", "disableIPv4", "oneCGNATRoute", "randomizeClientPort",
)  # fmt: skip
_SOURCES_OF_SELF = frozenset({Kind.USER, Kind.GROUP, Kind.MEMBER, Kind.ANY})


@dataclass(frozen=True, slots=True)
class Destination:
    """One entry of `dst`: a selector and its inclusive port ranges."""

    selector: Selector
    ports: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class AclRule:
    """One accept rule. `protocol` () = TCP, UDP and ICMP."""

    place: Place
    sources: tuple[Selector, ...]
    destinations: tuple[Destination, ...]
    protocol: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AutoApprovers:
    """Who may serve a route, or be an exit node, without a person's approval."""

    routes: tuple[tuple[Prefix, tuple[Selector, ...]], ...] = ()
    exit_node: tuple[Selector, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """A checked document. `acls` None = the section is absent: everybody reaches everything."""

    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hosts: Mapping[str, Prefix] = field(default_factory=dict)
    tag_owners: Mapping[str, tuple[Selector, ...]] = field(default_factory=dict)
    acls: tuple[AclRule, ...] | None = None
    auto_approvers: AutoApprovers = field(default_factory=AutoApprovers)
    user_places: Mapping[str, Place] = field(default_factory=dict)

    @property
    def allows_all(self) -> bool:
        return self.acls is None


ALLOW_ALL = Policy()


def parse_policy(text: str | bytes) -> Policy:
    """Parse and check a whole document. Raises `PolicyError` with every problem found."""
    document = parse_hujson(text)
    if document is None:
        return ALLOW_ALL
    reader = _Reader()
    policy = reader.read(document)
    if reader.problems:
        raise PolicyError(reader.problems)
    return policy


def unknown_users(policy: Policy, known: Callable[[str], bool]) -> tuple[Problem, ...]:
    """A warning for each user that the policy names and nobody has."""
    return tuple(
        Problem(place, f'no such user: "{name}"', "the rule takes effect when the user is created", warning=True)
        for name, place in policy.user_places.items()
        if not known(name)
    )


class _Reader:
    """Reads sections in dependency order and collects problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._names = Names(groups={}, hosts={}, tags={})
        self._users: dict[str, Place] = {}

    def problem(self, place: Place, text: str, mend: str = "") -> None:
        self.problems.append(Problem(place, text, mend))

    def read(self, document: Value) -> Policy:
        sections = self._sections(document)
        groups = self._groups(sections.get("groups"))
        hosts = self._hosts(sections.get("hosts"))
        owners = self._members(sections.get("tagOwners"), "tagOwners")
        self._names = Names(groups=groups, hosts=hosts, tags={member.name for member in owners})
        acls = sections.get("acls")
        return Policy(
            groups=groups,
            hosts=hosts,
            tag_owners=self._tag_owners(owners),
            acls=None if acls is None else self._acls(acls),
            auto_approvers=self._auto_approvers(sections.get("autoApprovers")),
            user_places=self._users,
        )

    def _sections(self, document: Value) -> dict[str, Value]:
        return self._fields(document, "the policy", SECTIONS, later=LATER_SECTIONS)

    def _fields(self, value: Value, what: str, known: tuple[str, ...], later: tuple[str, ...] = ()) -> dict[str, Value]:
        """Members of an object under their proper names; matches case-insensitively."""
        proper = {name.lower(): name for name in known}
        found: dict[str, Value] = {}
        for member in self._members(value, what):
            name = proper.get(member.name.lower())
            if name is None:
                self._unknown_field(member, known, later)
            elif name in found:
                self.problem(member.place, f'"{member.name}" stands here twice', "join the two")
            else:
                found[name] = member.value
        return found

    def _unknown_field(self, member: Member, known: tuple[str, ...], later: tuple[str, ...]) -> None:
        if member.name.startswith("#"):
            return
        if member.name.lower() in (name.lower() for name in later):
            mend = f"remove it; sections served now: {', '.join(known)}"
            self.problem(member.place, f'section "{member.name}" is not supported yet', mend)
        else:
            mend = did_you_mean(member.name, known) or f"known here: {', '.join(known)}"
            self.problem(member.place, f'unknown field: "{member.name}"', mend)

    def _members(self, value: Value | None, what: str) -> tuple[Member, ...]:
        if value is None:
            return ()
        if not value.is_object:
            self.problem(value.place, f"{what} must be an object, not {value.kind}", "write { … }")
            return ()
        return tuple(item for item in value.data if isinstance(item, Member))  # type: ignore[union-attr]  # an object

    def _items(self, value: Value | None, what: str) -> tuple[Value, ...]:
        if value is None:
            return ()
        if value.is_object or not isinstance(value.data, tuple):
            self.problem(value.place, f"{what} must be a list, not {value.kind}", "write [ … ]")
            return ()
        return tuple(item for item in value.data if isinstance(item, Value))

    def _strings(self, value: Value | None, what: str) -> list[tuple[str, Place]]:
        found: list[tuple[str, Place]] = []
        for item in self._items(value, what):
            if isinstance(item.data, str):
                found.append((item.data.strip(), item.place))
            else:
                self.problem(item.place, f"{what} holds {item.kind} where a string belongs", 'write "…"')
        return found

    def _text(self, value: Value | None, what: str) -> str:
        if value is None:
            return ""
        if not isinstance(value.data, str):
            self.problem(value.place, f"{what} must be a string, not {value.kind}", 'write "…"')
            return ""
        return value.data

    def _groups(self, section: Value | None) -> dict[str, tuple[str, ...]]:
        groups: dict[str, tuple[str, ...]] = {}
        for member in self._members(section, "groups"):
            name = member.name
            if not name.startswith("group:") or name == "group:":
                bare = name.removeprefix("group:")
                self.problem(member.place, f'not a group name: "{name}"', f'write "group:{bare}"')
            groups[name] = tuple(self._group_members(name, member.value))
        return groups

    def _group_members(self, group: str, value: Value) -> list[str]:
        users: list[str] = []
        for text, place in self._strings(value, f'groups["{group}"]'):
            if text.startswith("group:"):
                self.problem(place, f'groups["{group}"]: "{text}": group members cannot be recursive', "list its users")
            elif "@" not in text:
                self.problem(place, f'groups["{group}"]: "{text}" is not a user', f'write "{text}@"')
            else:
                user = text.removesuffix("@")
                self._users.setdefault(user, place)
                users.append(user)
        return users

    def _hosts(self, section: Value | None) -> dict[str, Prefix]:
        hosts: dict[str, Prefix] = {}
        for member in self._members(section, "hosts"):
            if "@" in member.name or ":" in member.name or not member.name:
                self.problem(member.place, f'not a host name: "{member.name}"', "without @ and :")
            text = self._text(member.value, f'hosts["{member.name}"]').strip()
            prefix = parse_network(text)
            if prefix is None:
                mend = "write an address or a network with zero host bits, as 10.0.0.0/8"
                self.problem(member.value.place, f'hosts["{member.name}"]: not an address: "{text}"', mend)
            else:
                hosts[member.name] = prefix
        return hosts

    def _tag_owners(self, members: tuple[Member, ...]) -> dict[str, tuple[Selector, ...]]:
        allowed = frozenset({Kind.USER, Kind.GROUP, Kind.TAG, Kind.MEMBER, Kind.ROLE})
        owners: dict[str, tuple[Selector, ...]] = {}
        for member in members:
            what = f'tagOwners["{member.name}"]'
            if not TAG.fullmatch(member.name):
                text = f"{what}: tag names must start with a letter, after 'tag:'"
                self.problem(member.place, text, 'write "tag:name" with letters, digits and -')
            owners[member.name] = self._selectors(member.value, what, allowed)
        return owners

    def _selectors(self, value: Value | None, what: str, allowed: frozenset[Kind]) -> tuple[Selector, ...]:
        found: list[Selector] = []
        for text, place in self._strings(value, what):
            selector = self._selector(text, place, what + ": ")
            if selector is None:
                continue
            if selector.kind not in allowed:
                self.problem(place, f'{what}: "{text}" is not valid here', "users, groups and tags are")
            else:
                found.append(selector)
        return tuple(found)

    def _selector(self, text: str, place: Place, prefix: str) -> Selector | None:
        try:
            selector = parse_selector(text, self._names)
        except SelectorError as error:
            self.problem(place, prefix + error.text, error.mend)
            return None
        if selector.kind is Kind.USER:
            self._users.setdefault(selector.value, place)
        return selector

    def _acls(self, section: Value) -> tuple[AclRule, ...]:
        rules = (self._acl(item) for item in self._items(section, "acls"))
        return tuple(rule for rule in rules if rule is not None)

    def _acl(self, item: Value) -> AclRule | None:
        known = ("action", "src", "dst", "proto", "users", "ports")
        fields = self._fields(item, "a rule of acls", known, later=("srcPosture",))
        if not item.is_object:
            return None
        self._check_action(item, fields.get("action"))
        sources = self._acl_sources(fields.get("src") or fields.get("users"))
        protocol = self._protocol(fields.get("proto"))
        destinations = self._acl_destinations(fields.get("dst") or fields.get("ports"), protocol)
        for name, old in (("src", "users"), ("dst", "ports")):
            if name not in fields and old not in fields:
                self.problem(item.place, f'rule without "{name}"', f'add "{name}": […]')
        self._check_self(item, sources, destinations)
        return AclRule(item.place, sources, destinations, protocol)

    def _check_action(self, item: Value, value: Value | None) -> None:
        action = self._text(value, "action")
        if action != "accept":
            place = item.place if value is None else value.place
            self.problem(place, f'action="{action}" is not supported', 'write "action": "accept"')

    def _protocol(self, value: Value | None) -> tuple[int, ...]:
        try:
            return parse_protocol(self._text(value, "proto"))
        except ValueError as error:
            assert value is not None
            self.problem(value.place, str(error), "tcp, udp, icmp, sctp, … or a number from 1 to 255")
            return ()

    def _acl_sources(self, value: Value | None) -> tuple[Selector, ...]:
        found: list[Selector] = []
        for text, place in self._strings(value, "src"):
            selector = self._selector(text, place, "src=")
            if selector is None:
                continue
            if selector.kind in (Kind.SELF, Kind.INTERNET):
                self.problem(place, f'"{text}" not valid on the src side of a rule', "it is a destination")
            else:
                found.append(selector)
        return tuple(found)

    def _acl_destinations(self, value: Value | None, protocol: tuple[int, ...]) -> tuple[Destination, ...]:
        found = (self._destination(text, place, protocol) for text, place in self._strings(value, "dst"))
        return tuple(one for one in found if one is not None)

    def _destination(self, text: str, place: Place, protocol: tuple[int, ...]) -> Destination | None:
        name, colon, ports_text = text.rpartition(":")
        what = f'dst="{text}": '
        if not colon or name.endswith(":"):
            self.problem(place, what + "no ports", f'write "{text}:*" or "{text}:22"')
            return None
        selector = self._selector(_without_brackets(name), place, f'dst="{name}": ')
        ports = self._ports(ports_text, place, what, protocol)
        if selector is None or ports is None:
            return None
        if selector.kind is Kind.DANGER_ALL:
            self.problem(place, "cannot use autogroup:danger-all as a dst", 'write "*:*"')
            return None
        return Destination(selector, ports)

    def _ports(
        self, text: str, place: Place, what: str, protocol: tuple[int, ...]
    ) -> tuple[tuple[int, int], ...] | None:
        try:
            ports = parse_ports(text)
        except ValueError as error:
            self.problem(place, what + str(error), "ports are *, 22 or 8000-8080, joined by commas")
            return None
        if text.strip() != "*" and not may_have_ports(protocol):
            self.problem(place, what + "this protocol has no ports", "write * for the ports")
            return None
        return ports

    def _check_self(self, item: Value, sources: tuple[Selector, ...], dsts: tuple[Destination, ...]) -> None:
        if all(dst.selector.kind is not Kind.SELF for dst in dsts):
            return
        if any(source.kind not in _SOURCES_OF_SELF for source in sources):
            text = "autogroup:self can only be used with users, groups, or supported autogroups"
            self.problem(item.place, text, "move the other sources to a rule of their own")

    def _auto_approvers(self, section: Value | None) -> AutoApprovers:
        if section is None:
            return AutoApprovers()
        allowed = frozenset({Kind.USER, Kind.GROUP, Kind.TAG, Kind.MEMBER, Kind.ROLE})
        fields = self._fields(section, "autoApprovers", ("routes", "exitNode"), later=("services",))
        routes: list[tuple[Prefix, tuple[Selector, ...]]] = []
        for member in self._members(fields.get("routes"), "autoApprovers.routes"):
            prefix = parse_network(member.name)
            what = f'autoApprovers.routes["{member.name}"]'
            if prefix is None:
                self.problem(member.place, f"{what}: not a network", "write it with zero host bits, as 10.0.0.0/8")
                continue
            routes.append((prefix, self._selectors(member.value, what, allowed)))
        exit_node = self._selectors(fields.get("exitNode"), "autoApprovers.exitNode", allowed)
        return AutoApprovers(tuple(routes), exit_node)


def _without_brackets(name: str) -> str:
    """`[fd7a::1]` -> `fd7a::1` and `[fd7a::]/64` -> `fd7a::/64`; nothing else may be bracketed."""
    inside, bracket, rest = name.removeprefix("[").partition("]")
    if name.startswith("[") and bracket and ":" in inside and (not rest or rest.startswith("/")):
        return inside + rest
    return name
