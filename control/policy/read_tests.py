"""Sections `tests` and `sshTests` (policy-and-management spec 2.8).

A malformed entry is `test(s) failed` with its reason as the mend, as tools that read these texts expect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.policy.model import PolicyTest, SshTest
from control.policy.read_rules import without_brackets
from control.policy.reader import plain
from control.policy.selectors import Kind, Selector, SelectorError, parse_selector
from control.policy.traffic import may_have_ports, parse_ports, parse_protocol

if TYPE_CHECKING:
    from control.policy.hujson import Value
    from control.policy.postures import AttributeValue
    from control.policy.problems import Place
    from control.policy.reader import Reader

TEST_FAILED = "test(s) failed"
_ANYBODY = Selector(Kind.SHARED)
_BAD_TARGETS = frozenset({Kind.INTERNET, Kind.SELF, Kind.ANY, Kind.DANGER_ALL, Kind.SHARED, Kind.IPSET})
_BAD_SOURCES = frozenset({Kind.INTERNET, Kind.SELF, Kind.SERVICE, Kind.DANGER_ALL})
_SSH_TARGETS = frozenset({Kind.USER, Kind.TAG, Kind.SELF, Kind.MEMBER, Kind.TAGGED, Kind.PREFIX})

Target = tuple[str, Selector, int]


class TestReader:
    """Reads both sections."""

    __test__ = False

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def _failed(self, place: Place, mend: str) -> None:
        self._reader.problem(place, TEST_FAILED, mend)

    def _selector(self, text: str, place: Place) -> Selector | None:
        try:
            return parse_selector(text, self._reader.names)
        except SelectorError as error:
            self._failed(place, error.text + (f"; {error.mend}" if error.mend else ""))
            return None

    # tests

    def tests(self, section: Value | None) -> tuple[PolicyTest, ...]:
        return tuple(self._test(item) for item in self._reader.items(section, "tests"))

    def _test(self, item: Value) -> PolicyTest:
        known = ("src", "user", "proto", "accept", "allow", "deny", "srcPostureAttrs")
        fields = self._reader.fields(item, "a test", known)
        accept, deny = fields.get("accept") or fields.get("allow"), fields.get("deny")
        if item.is_object and not (accept is not None and accept.data) and not (deny is not None and deny.data):
            self._failed(item.place, 'the test asks nothing; add "accept" or "deny"')
        return PolicyTest(
            place=item.place,
            source=self._source(item, fields.get("src") or fields.get("user")),
            accept=self._targets(accept, "accept"),
            deny=self._targets(deny, "deny"),
            protocol=self._protocol(fields.get("proto")),
            attributes=self._attributes(fields.get("srcPostureAttrs")),
        )

    def _source(self, item: Value, value: Value | None) -> Selector:
        text = self._reader.text(value, "src").strip()
        place = item.place if value is None else value.place
        if not text:
            self._failed(place, 'the test has no source; add "src": "user@"')
            return _ANYBODY
        selector = self._selector(text, place)
        if selector is not None and selector.kind in _BAD_SOURCES:
            self._failed(place, f'"{text}" cannot be the source of a test')
        return selector or _ANYBODY

    def _targets(self, value: Value | None, what: str) -> tuple[Target, ...]:
        found = (self._target(text, place) for text, place in self._reader.strings(value, what))
        return tuple(one for one in found if one is not None)

    def _target(self, text: str, place: Place) -> Target | None:
        name, colon, port_text = text.rpartition(":")
        try:
            ports = parse_ports(port_text) if colon else ()
        except ValueError as error:
            self._failed(place, f'"{text}": {error}')
            return None
        if len(ports) != 1 or ports[0][0] != ports[0][1]:
            self._failed(place, f'"{text}": a test needs exactly one port, as "host:22"')
            return None
        selector = self._selector(without_brackets(name), place)
        if selector is None:
            return None
        if selector.kind in _BAD_TARGETS:
            self._failed(place, f'"{name}" cannot be the destination of a test; name one host')
            return None
        if selector.kind is Kind.PREFIX and (
            "/" in selector.value or selector.networks[0].prefixlen != selector.networks[0].max_prefixlen
        ):
            self._failed(place, f'"{name}" is a network; name one host of it')
            return None
        return text, selector, ports[0][0]

    def _protocol(self, value: Value | None) -> tuple[int, ...]:
        text = self._reader.text(value, "proto")
        try:
            protocol = parse_protocol(text)
        except ValueError as error:
            protocol = ()
            if value is not None:
                self._failed(value.place, str(error))
        if protocol and value is not None and not may_have_ports(protocol):
            self._failed(value.place, f'a test of protocol "{text}" is not possible; tcp, udp or sctp are')
        return protocol

    def _attributes(self, value: Value | None) -> dict[str, AttributeValue] | None:
        if value is None:
            return None
        found: dict[str, AttributeValue] = {}
        for member in self._reader.members(value, "srcPostureAttrs"):
            data = plain(member.value)
            if isinstance(data, str | int | float | bool):
                found[member.name] = data
            else:
                self._failed(member.value.place, f"{member.name} is {member.value.kind}; write a string or number")
        return found

    # sshTests

    def ssh_tests(self, section: Value | None) -> tuple[SshTest, ...]:
        return tuple(self._ssh_test(item) for item in self._reader.items(section, "sshTests"))

    def _ssh_test(self, item: Value) -> SshTest:
        fields = self._reader.fields(item, "an SSH test", ("src", "dst", "accept", "deny", "check"))
        logins = {name: self._logins(fields.get(name), name) for name in ("accept", "deny", "check")}
        if item.is_object and not any(logins.values()):
            self._failed(item.place, 'the test asks nothing; add "accept", "deny" or "check"')
        if "dst" not in fields:
            self._failed(item.place, 'the test has no destination; add "dst": ["tag:…"]')
        return SshTest(
            place=item.place,
            source=self._source(item, fields.get("src")),
            destinations=self._ssh_targets(fields.get("dst")),
            **logins,
        )

    def _logins(self, value: Value | None, what: str) -> tuple[str, ...]:
        found: list[str] = []
        for text, place in self._reader.strings(value, what):
            if not text:
                self._failed(place, "an empty login name; remove it")
            elif text == "*" or text.startswith("autogroup:"):
                self._reader.problem(place, f'user "{text}" is not valid', "name one login")
            else:
                found.append(text)
        return tuple(found)

    def _ssh_targets(self, value: Value | None) -> tuple[Selector, ...]:
        found: list[Selector] = []
        for text, place in self._reader.strings(value, "dst"):
            if text.startswith("tag:") and text not in self._reader.names.tags:
                mend = f'add "{text}" to tagOwners; SSH tests name no port'
                self._reader.problem(place, f'SSH tests dst contains unknown tag "{text}"', mend)
                continue
            if "/" in text or text in ("*", "autogroup:internet", "autogroup:danger-all"):
                mend = "users, tags, autogroup:self, :member and :tagged, or one host"
                self._reader.problem(place, f'SSH tests dst contains disallowed element "{text}"', mend)
                continue
            selector = self._selector(text, place)
            if selector is not None and selector.kind not in _SSH_TARGETS:
                mend = "users, tags, autogroup:self, :member and :tagged, or one host"
                self._reader.problem(place, f'SSH tests dst contains disallowed element "{text}"', mend)
            elif selector is not None:
                found.append(selector)
        return tuple(found)
