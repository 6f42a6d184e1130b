"""Sections `acls` and `grants` (policy-and-management spec 1.4 to 1.6, 2.1), read into normal-form rules."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from control.policy.model import AppGrants, Destination, Ports, Rule
from control.policy.reader import plain
from control.policy.selectors import Kind
from control.policy.traffic import ANY_PORTS, may_have_ports, parse_ports, parse_protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from control.policy.hujson import Value
    from control.policy.problems import Place
    from control.policy.reader import Reader
    from control.policy.selectors import Selector

_SELF_TEXT = "autogroup:self can only be used with users, groups, or supported autogroups"
_SELF_SOURCES = frozenset({Kind.USER, Kind.DOMAIN, Kind.GROUP, Kind.MEMBER, Kind.ROLE})
_NOT_SOURCES = frozenset({Kind.SELF, Kind.INTERNET, Kind.SERVICE})
_CAPABILITY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?/[!-~]+")
_OWN_CAPABILITIES = frozenset(
    f"tailscale.com/cap/{name}" for name in ("drive", "relay", "webui", "kubernetes", "tsidp", "secrets")
)
_OWN_PREFIX = "tailscale.com/cap/conn25/"


class RuleReader:
    def __init__(self, reader: Reader, default_posture: tuple[str, ...]) -> None:
        self._reader = reader
        self._default_posture = default_posture

    def acls(self, section: Value) -> tuple[Rule, ...]:
        return tuple(rule for item in self._reader.items(section, "acls") for rule in self._acl(item))

    def grants(self, section: Value) -> tuple[Rule, ...]:
        return tuple(rule for item in self._reader.items(section, "grants") for rule in self._grant(item))

    # ACLs

    def _acl(self, item: Value) -> Iterator[Rule]:
        known = ("action", "src", "dst", "proto", "srcPosture", "users", "ports")
        fields = self._reader.fields(item, "a rule of acls", known)
        if not item.is_object:
            return
        self._check_action(item, fields.get("action"))
        self._need(item, fields, (("src", "users"), ("dst", "ports")))
        sources = self._sources(fields.get("src") or fields.get("users"))
        protocol = self._protocol(fields.get("proto"))
        destinations = self._acl_destinations(fields.get("dst") or fields.get("ports"), protocol)
        postures = self._postures(fields)
        self._check_self(item, sources, destinations, _SELF_SOURCES | {Kind.ANY})
        if not sources:
            return
        for part in _by_self(destinations):
            yield Rule(item.place, sources, part, protocol, postures)

    def _need(self, item: Value, fields: dict[str, Value], names: tuple[tuple[str, str], ...]) -> None:
        for name, old in names:
            if name not in fields and old not in fields:
                self._reader.problem(item.place, f'rule without "{name}"', f'add "{name}": […]')

    def _check_action(self, item: Value, value: Value | None) -> None:
        action = self._reader.text(value, "action")
        if action != "accept":
            place = item.place if value is None else value.place
            self._reader.problem(place, f'action="{action}" is not supported', 'write "action": "accept"')

    def _protocol(self, value: Value | None) -> tuple[int, ...]:
        try:
            return parse_protocol(self._reader.text(value, "proto"))
        except ValueError as error:
            assert value is not None
            self._reader.problem(value.place, str(error), "tcp, udp, icmp, sctp, … or a number from 1 to 255")
            return ()

    def _postures(self, fields: dict[str, Value]) -> tuple[str, ...]:
        value = fields.get("srcPosture")
        return self._default_posture if value is None else self._reader.posture_names(value)

    def _sources(self, value: Value | None) -> tuple[Selector, ...]:
        found: list[Selector] = []
        for text, place in self._reader.strings(value, "src"):
            selector = self._reader.selector(text, place, "src=")
            if selector is None:
                continue
            if selector.kind in _NOT_SOURCES:
                self._reader.problem(place, f'"{text}" not valid on the src side of a rule', "it is a destination")
            else:
                found.append(selector)
        return tuple(found)

    def _acl_destinations(self, value: Value | None, protocol: tuple[int, ...]) -> tuple[Destination, ...]:
        found = (self._destination(text, place, protocol) for text, place in self._reader.strings(value, "dst"))
        return tuple(one for one in found if one is not None)

    def _destination(self, text: str, place: Place, protocol: tuple[int, ...]) -> Destination | None:
        name, colon, ports_text = text.rpartition(":")
        what = f'dst="{text}": '
        if not colon or name.endswith(":"):
            self._reader.problem(place, what + "no ports", f'write "{text}:*" or "{text}:22"')
            return None
        ports = self._ports(ports_text, place, what, protocol)
        if ports is None:
            return None
        selector = self._target(without_brackets(name), place, f'dst="{name}": ')
        return None if selector is None else Destination(selector, ports)

    def _target(self, name: str, place: Place, prefix: str) -> Selector | None:
        selector = self._reader.selector(name, place, prefix)
        if selector is not None and selector.kind is Kind.DANGER_ALL:
            self._reader.problem(place, "cannot use autogroup:danger-all as a dst", 'write "*"')
            return None
        if selector is not None and selector.kind is Kind.SHARED:
            self._reader.problem(place, f'{prefix}"{name}" is not valid here', "it is a source")
            return None
        return selector

    def _ports(self, text: str, place: Place, what: str, protocol: tuple[int, ...]) -> Ports | None:
        try:
            ports = parse_ports(text)
        except ValueError as error:
            self._reader.problem(place, what + str(error), "ports are *, 22 or 8000-8080, joined by commas")
            return None
        if text.strip() != "*" and not may_have_ports(protocol):
            self._reader.problem(place, what + "this protocol has no ports", "write * for the ports")
            return None
        return ports

    def _check_self(
        self, item: Value, sources: tuple[Selector, ...], dsts: tuple[Destination, ...], allowed: frozenset[Kind]
    ) -> None:
        if any(dst.selector.kind is Kind.SELF for dst in dsts) and any(one.kind not in allowed for one in sources):
            self._reader.problem(item.place, _SELF_TEXT, "move the other sources to a rule of their own")

    # Grants

    def _grant(self, item: Value) -> Iterator[Rule]:
        fields = self._reader.fields(item, "a rule of grants", ("src", "dst", "ip", "app", "srcPosture", "via"))
        if not item.is_object:
            return
        self._need(item, fields, (("src", "src"), ("dst", "dst")))
        sources = self._sources(fields.get("src"))
        targets = self._grant_targets(fields.get("dst"))
        packets = self._ip(fields.get("ip"))
        app = self._app(fields.get("app"))
        postures, via = self._postures(fields), self._via(fields.get("via"))
        self._check_grant(item, fields, targets)
        dsts = tuple(Destination(target, ()) for target in targets)
        self._check_self(item, sources, dsts, _SELF_SOURCES)
        if not sources or not targets:
            return
        for part in _by_self(dsts):
            for protocol, ports in packets:
                ready = tuple(Destination(one.selector, ports) for one in part)
                yield Rule(item.place, sources, ready, protocol, postures, via)
            if app:
                yield Rule(item.place, sources, part, (), postures, via, app, gives_packets=bool(packets))

    def _check_grant(self, item: Value, fields: dict[str, Value], targets: tuple[Selector, ...]) -> None:
        empty = not any(name in fields and fields[name].data for name in ("ip", "app"))
        if empty:
            self._reader.problem(item.place, "ip and app can not both be empty", 'add "ip": ["*"]')
        if "app" in fields and any(one.kind is Kind.INTERNET for one in targets):
            mend = 'move "app" to a grant with other destinations'
            self._reader.problem(fields["app"].place, "cannot use app grants with autogroup:internet", mend)

    def _grant_targets(self, value: Value | None) -> tuple[Selector, ...]:
        found: list[Selector] = []
        for text, place in self._reader.strings(value, "dst"):
            selector = self._target(text, place, f'dst="{text}": ')
            if selector is None:
                continue
            if selector.kind is Kind.PREFIX and selector.networks[0].prefixlen == 0:
                says = f'dst "{text}": to allow all IP addresses, use "*" or "autogroup:internet"'
                self._reader.problem(place, says, 'write "autogroup:internet"')
            else:
                found.append(selector)
        return tuple(found)

    def _ip(self, value: Value | None) -> list[tuple[tuple[int, ...], Ports]]:
        found: list[tuple[tuple[int, ...], Ports]] = []
        for text, place in self._reader.strings(value, "ip"):
            word, colon, ports_text = text.rpartition(":")
            try:
                protocol = parse_protocol(word) if colon else ()
                if colon and not word.strip():
                    raise ValueError(f'no protocol before the colon: "{text}"')
                ports = ANY_PORTS if text == "*" else parse_ports(ports_text)
                if ports_text.strip() != "*" and not may_have_ports(protocol):
                    raise ValueError(f'ip="{text}": this protocol has no ports')
            except ValueError as error:
                self._reader.problem(place, str(error), 'write "*", "22", "tcp:443" or "icmp:*"')
                continue
            found.append((protocol, ports))
        return found

    def _app(self, value: Value | None) -> AppGrants:
        found: list[tuple[str, tuple[object, ...]]] = []
        for member in self._reader.unique_members(value, "app"):
            if not _CAPABILITY.fullmatch(member.name) or "://" in member.name:
                text = "capability name must have the form {domain}/{path}"
                self._reader.problem(member.place, text, 'write "example.org/cap/name"')
            elif not _may_name(member.name):
                text = "capability name must not be in the tailscale.com domain"
                known = ", ".join(sorted(_OWN_CAPABILITIES))
                self._reader.problem(member.place, text, f"use a domain of your own, or one of {known}")
            values = self._reader.items(member.value, f'app["{member.name}"]')
            for one in values:
                if not one.is_object:
                    what = f'app["{member.name}"] holds {one.kind} where an object belongs'
                    self._reader.problem(one.place, what, "write {}")
            found.append((member.name, tuple(plain(one) for one in values)))
        return tuple(found)

    def _via(self, value: Value | None) -> tuple[str, ...]:
        found: list[str] = []
        for text, place in self._reader.strings(value, "via"):
            if not text.startswith("tag:"):
                self._reader.problem(place, "via can only be a tag", f'write "tag:…" instead of "{text}"')
            elif text not in self._reader.names.tags:
                self._reader.problem(place, f'tag "{text}" not found', f'add "{text}" to tagOwners')
            else:
                found.append(text)
        return tuple(found)


def _may_name(capability: str) -> bool:
    domain = capability.partition("/")[0].lower()
    if domain != "tailscale.com" and not domain.endswith(".tailscale.com"):
        return True
    return capability in _OWN_CAPABILITIES or capability.startswith(_OWN_PREFIX)


def _by_self(destinations: tuple[Destination, ...]) -> list[tuple[Destination, ...]]:
    """Runs of destinations that are all autogroup:self or all not.

    With a destination that is no autogroup, the others come first and autogroup:self after them (spec 2.1).
    """

    def is_self(one: Destination) -> bool:
        return one.selector.kind is Kind.SELF

    if any(not one.selector.kind.startswith("autogroup:") for one in destinations):
        destinations = tuple(sorted(destinations, key=is_self))
    return [tuple(part) for _, part in groupby(destinations, key=is_self)]


def without_brackets(name: str) -> str:
    """`[fd7a::1]` -> `fd7a::1` and `[fd7a::]/64` -> `fd7a::/64`; nothing else may be bracketed."""
    inside, bracket, rest = name.removeprefix("[").partition("]")
    if name.startswith("[") and bracket and ":" in inside and (not rest or rest.startswith("/")):
        return inside + rest
    return name
