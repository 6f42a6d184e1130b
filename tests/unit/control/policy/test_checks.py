"""The policy's own tests: what passes, what fails and why."""

from __future__ import annotations

import pytest

from control.policy.checks import run_tests
from tests.unit.control.policy.mesh import compiled

GRANTS = (
    '"grants": [{"src": ["b@"], "dst": ["tag:r"], "ip": ["tcp:22"]},'
    ' {"src": ["autogroup:member"], "dst": ["autogroup:self"], "ip": ["*"]}]'
)
SSH = '"ssh": [{"action": "check", "src": ["b@"], "dst": ["tag:r"], "users": ["root"]}]'


def failures(tests: str, ssh_tests: str = "") -> list[str]:
    found = run_tests(compiled(f'{GRANTS}, {SSH}, "tests": [{tests}], "sshTests": [{ssh_tests}]'))
    assert all(problem.text == "test(s) failed" for problem in found)
    return [problem.mend for problem in found]


@pytest.mark.parametrize(
    "test",
    [
        '{"src": "b@", "accept": ["tag:r:22"], "deny": ["tag:r:23", "100.64.0.1:22"]}',
        '{"src": "b@", "proto": "tcp", "accept": ["100.64.0.9:22"]}',
        '{"src": "b@", "proto": "udp", "deny": ["tag:r:22"]}',
        '{"user": "a@", "deny": ["tag:r:22"]}',
        '{"src": "a@", "accept": ["100.64.0.2:443"]}',
        '{"src": "autogroup:member", "deny": ["tag:r:22"]}',
    ],
)
def test_ok__pass(test):
    assert failures(test) == []


@pytest.mark.parametrize(
    ("test", "says"),
    [
        ('{"src": "b@", "accept": ["tag:r:23"]}', "b@ does not reach tag:r:23"),
        ('{"src": "b@", "deny": ["tag:r:22"]}', "b@ reaches tag:r:22: line 1, column"),
        ('{"src": "nobody@", "deny": ["tag:r:22"]}', "no node is nobody@"),
        ('{"src": "b@", "deny": ["tag:s:22"]}', "no node is tag:s"),
    ],
)
def test_fail__say_which(test, says):
    [found] = failures(test)
    assert says in found


def test_ok__ssh_tests():
    assert (
        failures("", '{"src": "b@", "dst": ["tag:r"], "accept": ["root"], "check": ["root"], "deny": ["alice"]}') == []
    )


@pytest.mark.parametrize("word", ["accept", "check"])
def test_fail__ssh_tests(word):
    [found] = failures("", f'{{"src": "b@", "dst": ["tag:r"], "{word}": ["alice"]}}')
    assert found == f"{word} fails for login alice from node 3 to node 9"


def test_ok__attributes_stand_for_the_posture():
    posture = '"postures": {"posture:x": ["custom:tier == \'prod\'"]}'
    grant = '"grants": [{"src": ["b@"], "dst": ["tag:r"], "ip": ["*"], "srcPosture": ["posture:x"]}]'
    tests = (
        '{"src": "b@", "srcPostureAttrs": {"custom:tier": "prod"}, "accept": ["tag:r:1"]},'
        ' {"src": "b@", "deny": ["tag:r:1"]}'
    )
    assert run_tests(compiled(f'{posture}, {grant}, "tests": [{tests}]')) == ()
