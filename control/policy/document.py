"""The policy document: HuJSON text to a checked `Policy`.

Reads the sections that define names first, then those that use them, and reports every problem of the whole file at
its place. Any section that it does not know is refused by name, so that nobody believes a rule in force that is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.policy.hujson import Value, parse_hujson
from control.policy.model import ALLOW_ALL, Policy
from control.policy.problems import PolicyError, Problem
from control.policy.read_attrs import (
    read_attribute_types,
    read_auto_approvers,
    read_global_attrs,
    read_node_attrs,
)
from control.policy.read_names import IpSetReader, read_groups, read_hosts, read_postures, read_tag_owners
from control.policy.read_rules import RuleReader
from control.policy.read_ssh import SshReader
from control.policy.read_tests import TestReader
from control.policy.reader import Reader
from control.policy.selectors import Names

if TYPE_CHECKING:
    from collections.abc import Callable

SECTIONS = (
    "groups", "hosts", "ipsets", "tagOwners", "postures", "defaultSrcPosture", "attrConfig", "acls", "grants", "ssh",
    "nodeAttrs", "autoApprovers", "tests", "sshTests", "derpMap", "disableIPv4", "oneCGNATRoute",
    "randomizeClientPort",
)  # fmt: skip
_ELSEWHERE = {"derpMap": "relays are set in the server's settings (derp), not in the policy"}
"""Sections of other servers' policies that nobody would see ignored."""


def parse_policy(text: str | bytes) -> Policy:
    """Parse and check a whole document. Raises `PolicyError` with every problem found."""
    document = parse_hujson(text)
    if document is None:
        return ALLOW_ALL
    reader = Reader()
    policy = _read(reader, document)
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


def _read(reader: Reader, document: Value) -> Policy:
    sections = reader.fields(document, "the policy", SECTIONS)
    groups = read_groups(reader, sections.get("groups"))
    hosts = read_hosts(reader, sections.get("hosts"))
    ipsets = IpSetReader(reader, hosts, sections.get("ipsets")).read()
    owners = reader.unique_members(sections.get("tagOwners"), "tagOwners")
    reader.names = Names(groups=groups, hosts=hosts, tags={member.name for member in owners}, ipsets=ipsets)
    postures = reader.postures = read_postures(reader, sections.get("postures"))
    default_posture = reader.posture_names(sections.get("defaultSrcPosture"))
    rules = RuleReader(reader, default_posture)
    tests = TestReader(reader)
    acls, grants = sections.get("acls"), sections.get("grants")
    global_attrs = read_global_attrs(reader, sections)
    attribute_types, node_settable, broadcasts = read_attribute_types(reader, sections.get("attrConfig"))
    for name, mend in _ELSEWHERE.items():
        if name in sections:
            reader.problem(sections[name].place, f'section "{name}" is not supported', mend)
    return Policy(
        groups=groups,
        hosts=hosts,
        tag_owners=read_tag_owners(reader, owners),
        postures=postures,
        acls=None if acls is None else rules.acls(acls),
        grants=None if grants is None else rules.grants(grants),
        ssh=SshReader(reader, default_posture).read(sections.get("ssh")),
        node_attrs=read_node_attrs(reader, sections.get("nodeAttrs")),
        global_attrs=global_attrs,
        auto_approvers=read_auto_approvers(reader, sections.get("autoApprovers")),
        tests=tests.tests(sections.get("tests")),
        ssh_tests=tests.ssh_tests(sections.get("sshTests")),
        attribute_types=attribute_types,
        node_settable=node_settable,
        broadcasts=broadcasts,
        disable_ipv4="disable-ipv4" in global_attrs,
        user_places=reader.users,
    )
