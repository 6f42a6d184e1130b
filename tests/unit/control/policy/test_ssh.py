"""SSH policies as nodes get them: order, logins, principals, checks, recorders (policy-and-management spec 2.7)."""

from __future__ import annotations

import json

from appliance.proto.control import messages as wire
from control.policy.ssh import CHECK_URL
from tests.unit.control.policy.mesh import MESH, Box, compiled

FORWARDING = {"allowAgentForwarding": True, "allowLocalPortForwarding": True, "allowRemotePortForwarding": True}
ACCEPT = {"accept": True, **FORWARDING}
N1 = [{"nodeIP": "100.64.0.1"}, {"nodeIP": "fd7a:115c:a1e0::1"}]
N2 = [{"nodeIP": "100.64.0.2"}, {"nodeIP": "fd7a:115c:a1e0::2"}]
N3 = [{"nodeIP": "100.64.0.3"}, {"nodeIP": "fd7a:115c:a1e0::3"}]
R = [{"nodeIP": "100.64.0.9"}, {"nodeIP": "fd7a:115c:a1e0::9"}]


def rules(policy, node):
    return json.loads(wire.encode(policy.ssh_policy(node)))["rules"]


def ssh(*entries, nodes=MESH):
    return compiled(f'"ssh": [{", ".join(entries)}]', nodes)


def rule(src, dst, users, action="accept", more=""):
    return f'{{"action": "{action}", "src": [{src}], "dst": [{dst}], "users": [{users}]{more}}}'


def test_ok__logins_name_root_always():
    policy = ssh(rule('"b@"', '"tag:r"', '"autogroup:nonroot", "deploy"'))
    assert rules(policy, 9) == [
        {"principals": N3, "sshUsers": {"*": "=", "root": "", "deploy": "deploy"}, "action": ACCEPT}
    ]
    assert rules(policy, 3) == []


def test_ok__checks_come_first_and_delegate():
    policy = ssh(
        rule('"b@"', '"tag:r"', '"root"'), rule('"a@"', '"tag:r"', '"root"', "check", ', "checkPeriod": "20m"')
    )
    first, second = rules(policy, 9)
    assert first == {"principals": N1 + N2, "sshUsers": {"root": "root"}, "action": {"holdAndDelegate": CHECK_URL}}
    assert second["action"] == ACCEPT
    assert policy.ssh_check_period(1, 9, "root") == 1200
    assert policy.ssh_check_period(3, 9, "root") is None


def test_ok__self_reaches_the_owners_nodes_only():
    policy = ssh(rule('"autogroup:member"', '"autogroup:self"', '"autogroup:nonroot"'))
    assert [one["principals"] for one in rules(policy, 1)] == [N1 + N2]
    assert [one["principals"] for one in rules(policy, 3)] == [N3]
    assert rules(policy, 9) == []


def test_ok__localpart_logins_by_user_and_on_the_sources_own_nodes():
    policy = ssh(rule('"autogroup:member"', '"tag:r"', '"localpart:*@example.com"'))
    assert [(one["principals"], one["sshUsers"]) for one in rules(policy, 9)] == [
        (N1 + N2, {"root": ""}),
        (N1 + N2, {"a": "a"}),
        (N3, {"root": ""}),
    ]
    assert [one["sshUsers"] for one in rules(policy, 1)] == [{"root": ""}, {"a": "a"}]


def test_ok__recorders_and_their_failure():
    recorder = Box(8, None, ("tag:s",))
    more = ', "recorder": ["tag:s"], "enforceRecorder": true, "acceptEnv": ["LANG", "LC_*"]'
    [one] = rules(ssh(rule('"b@"', '"tag:r"', '"root"', more=more), nodes=[*MESH, recorder]), 9)
    assert one["action"]["recorders"] == ["100.64.0.8:80"]
    assert set(one["action"]["onRecordingFailure"]) == {"RejectSessionWithMessage", "TerminateSessionWithMessage"}
    assert one["acceptEnv"] == ["LANG", "LC_*"]


def test_ok__tagged_sources_follow_users_and_duplicates_do_not_repeat():
    nodes = [*MESH, Box(5, None, ("tag:r", "tag:s"))]
    [one] = rules(ssh(rule('"autogroup:tagged", "tag:s"', '"tag:r"', '"root"'), nodes=nodes), 9)
    assert one["principals"] == [{"nodeIP": "100.64.0.5"}, {"nodeIP": "fd7a:115c:a1e0::5"}, *R]


def test_ok__a_change_names_the_nodes_it_touches():
    policy = ssh(rule('"b@"', '"tag:r"', '"root"'))
    assert policy.put_node(Box(4, 2)).ssh == {4, 9}
    assert len(rules(policy, 9)[0]["principals"]) == 4
    assert policy.put_node(Box(5, 1)).ssh == {5}
    assert policy.remove_node(4).ssh == {9}
    assert rules(policy, 9)[0]["principals"] == N3


def test_ok__nodes_that_rules_are_for_learn_it():
    policy = ssh(rule('"b@"', '"tag:r"', '"root"'))
    assert "https://tailscale.com/cap/ssh" in policy.node_attributes(9)
    assert policy.node_attributes(3) == {}
