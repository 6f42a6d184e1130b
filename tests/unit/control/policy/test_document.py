"""The policy document: sections, selectors, and the texts of refusals."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from control.policy.document import parse_policy, unknown_users
from control.policy.model import ALLOW_ALL
from control.policy.problems import PolicyError
from control.policy.selectors import Kind

GOOD = """{
  // people
  "groups": {"group:ops": ["alice@", "bob@example.org"]},
  "hosts": {"nas": "192.168.1.5", "lan": "192.168.1.0/24"},
  "tagOwners": {"tag:gw": ["group:ops"], "tag:srv": ["tag:gw", "autogroup:admin"]},
  "ACLs": [
    {"action": "accept", "src": ["group:ops"], "dst": ["tag:gw:22,8000-8080", "nas:*", "[fd7a::1]:443"]},
    {"action": "accept", "src": ["*"], "proto": "icmp", "dst": ["*:*"], "#note": "kept by a page"},
    {"action": "accept", "users": ["autogroup:members"], "ports": ["autogroup:self:*"]},
  ],
  "autoApprovers": {"routes": {"192.168.0.0/16": ["tag:gw"]}, "exitNode": ["group:ops"]},
}"""


def test_ok__a_whole_document():
    policy = parse_policy(GOOD)
    first, second, third = policy.acls
    assert [(*dst.selector.networks, dst.selector.value)[0] for dst in first.destinations] == [
        "tag:gw",
        ip_network("192.168.1.5"),
        ip_network("fd7a::1"),
    ]
    assert first.destinations[0].ports == ((22, 22), (8000, 8080))
    assert second.protocol == (1,)
    assert third.sources[0].kind is Kind.MEMBER
    assert third.destinations[0].selector.kind is Kind.SELF
    assert policy.groups["group:ops"] == ("alice", "bob@example.org")
    assert policy.auto_approvers.routes[0][0] == ip_network("192.168.0.0/16")


@pytest.mark.parametrize("text", ["", "// none", "{}", '{"groups": {}}'])
def test_ok__without_acls_everything_is_allowed(text):
    assert parse_policy(text).allows_all
    assert ALLOW_ALL.allows_all


def test_ok__empty_acls_deny_all():
    assert parse_policy('{"acls": []}').acls == ()


@pytest.mark.parametrize(
    ("text", "says", "mend"),
    [
        ('{"grant": []}', 'unknown field: "grant"', 'did you mean "grants"?'),
        ('{"tagOwner": {}}', 'unknown field: "tagOwner"', 'did you mean "tagOwners"?'),
        ("[]", "the policy must be an object, not a list", ""),
        ('{"groups": {"ops": []}}', 'not a group name: "ops"', 'write "group:ops"'),
        ('{"groups": {"group:a": ["group:b"]}}', "group members cannot be recursive", ""),
        ('{"groups": {"group:a": ["alice"]}}', '"alice" is not a user', 'write "alice@"'),
        ('{"groups": {"group:a": [1]}}', "holds a number where a string belongs", ""),
        ('{"hosts": {"a": "10.0.0.1/8"}}', "not an address", "zero host bits"),
        ('{"tagOwners": {"tag:1a": []}}', "tag names must start with a letter, after 'tag:'", ""),
        ('{"acls": [{"action": "deny", "src": ["*"], "dst": ["*:*"]}]}', 'action="deny" is not supported', ""),
        ('{"acls": [{"action": "accept", "dst": ["*:*"]}]}', 'rule without "src"', ""),
        ('{"acls": [{"action": "accept", "src": ["tag:x"], "dst": ["*:*"]}]}', 'src=tag not found: "tag:x"', "tagOwn"),
        (
            '{"acls": [{"action": "accept", "src": ["*"], "dst": ["tag:x:22"]}]}',
            'dst="tag:x": tag not found: "tag:x"',
            "",
        ),
        (
            '{"acls": [{"action": "accept", "src": ["autogroup:self"], "dst": ["*:*"]}]}',
            "not valid on the src side",
            "",
        ),
        (
            '{"acls": [{"action": "accept", "src": ["nas"], "dst": ["*:*"]}]}',
            "host not found",
            'user is written "nas@"',
        ),
        ('{"acls": [{"action": "accept", "src": ["*"], "dst": ["10.0.0.1"]}]}', "no ports", "10.0.0.1:*"),
        (
            '{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:ssh"]}]}',
            'dst="*:ssh": port range "ssh": invalid first integer',
            "",
        ),
        ('{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:0"]}]}', "first port must be >0", ""),
        ('{"acls": [{"action": "accept", "src": ["*"], "proto": "gre", "dst": ["*:22"]}]}', "has no ports", ""),
        ('{"acls": [{"action": "accept", "src": ["*"], "proto": "foo", "dst": ["*:*"]}]}', "unknown protocol", ""),
        (
            '{"acls": [{"action": "accept", "src": ["10.0.0.1"], "dst": ["autogroup:self:*"]}]}',
            "autogroup:self can only be used with users, groups, or supported autogroups",
            "",
        ),
        (
            '{"acls": [{"action": "accept", "src": ["*"], "dst": ["autogroup:danger-all:*"]}]}',
            "danger-all as a dst",
            "",
        ),
        ('{"autoApprovers": {"routes": {"10.0.0.1/8": []}}}', "not a network", ""),
        ('{"autoApprovers": {"exitNode": ["*"]}}', "not valid here", ""),
    ],
)
def test_fail__refusals(text, says, mend):
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    problem = caught.value.problems[0]
    assert says in problem.text
    assert mend in problem.mend
    assert f"{problem.place.line}, column {problem.place.column}: " in caught.value.text


def test_fail__every_problem_is_reported():
    with pytest.raises(PolicyError) as caught:
        parse_policy('{"shh": [],\n"acls": [{"action": "accept", "src": ["tag:a"], "dst": ["tag:b:1"]}]}')
    assert [problem.place.line for problem in caught.value.problems] == [1, 2, 2]


def test_ok__unknown_users_are_warned_of():
    [problem] = unknown_users(parse_policy(GOOD), lambda name: name == "alice")
    assert problem.warning
    assert "bob@example.org" in problem.text
