"""The policy's own tests, run on a compiled policy (policy-and-management spec 2.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.policy.problems import Problem
from control.policy.reach import DEFAULT_PROTOCOLS, Reach, Target
from control.policy.read_tests import TEST_FAILED
from control.policy.selectors import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from appliance.types.addresses import Prefix
    from appliance.types.ids import NodeId
    from control.policy.compiled import CompiledPolicy
    from control.policy.model import PolicyTest, SshTest
    from control.policy.selectors import Selector


def run_tests(policy: CompiledPolicy) -> tuple[Problem, ...]:
    """What fails, each at the place of its test; () = all pass."""
    failures = [problem for test in policy.policy.tests for problem in _test(policy, test)]
    failures += [problem for ssh_test in policy.policy.ssh_tests for problem in _ssh_test(policy, ssh_test)]
    return tuple(failures)


def _test(policy: CompiledPolicy, test: PolicyTest) -> Iterator[Problem]:
    reach = Reach(policy, test.attributes)
    sources = reach.prefixes(test.source)
    if not sources:
        yield Problem(test.place, TEST_FAILED, f"no node is {test.source.text}: nothing to test from")
        return
    for text, selector, port, wanted in (*_targets(test, wanted=True), *_targets(test, wanted=False)):
        prefixes = reach.prefixes(selector)
        if not prefixes:
            yield Problem(test.place, TEST_FAILED, f"no node is {selector.text}: nothing to test {text} with")
            continue
        target = Target(prefixes, port, frozenset(test.protocol) or DEFAULT_PROTOCOLS)
        reached = policy.policy.allows_all or all(any(reach.letting(source, target)) for source in sources)
        if reached is not wanted:
            word = "does not reach" if wanted else "reaches"
            yield Problem(
                test.place, TEST_FAILED, f"{test.source.text} {word} {text}{_missing(reach, sources, target)}"
            )


def _targets(test: PolicyTest, *, wanted: bool) -> Iterator[tuple[str, Selector, int, bool]]:
    for text, selector, port in test.accept if wanted else test.deny:
        yield text, selector, port, wanted


def _missing(reach: Reach, sources: tuple[Prefix, ...], target: Target) -> str:
    """The place of the rule that lets it, or which source is left out."""
    for source in sources:
        rule = next(reach.letting(source, target), None)
        if rule is not None:
            return f": {rule.rule.place} lets {source.network_address}"
    return ""


def _ssh_test(policy: CompiledPolicy, test: SshTest) -> Iterator[Problem]:
    sources = _nodes(policy, test.source)
    targets = [
        (source, target)
        for source in sources
        for selector in test.destinations
        for target in _ssh_targets(policy, source, selector)
    ]
    if not targets:
        yield Problem(test.place, TEST_FAILED, f"no node is {test.source.text}, or none is its destination")
        return
    for word, logins in (("accept", test.accept), ("deny", test.deny), ("check", test.check)):
        for login in logins:
            failed = next((pair for pair in targets if not _ssh_holds(policy, pair, login, word)), None)
            if failed is not None:
                mend = f"{word} fails for login {login} from node {failed[0]} to node {failed[1]}"
                yield Problem(test.place, TEST_FAILED, mend)


def _ssh_holds(policy: CompiledPolicy, pair: tuple[NodeId, NodeId], login: str, word: str) -> bool:
    rules = policy.ssh_rules(*pair, login)
    if word == "check":
        return any(rule.is_check for rule in rules)
    return bool(rules) is (word == "accept")


def _nodes(policy: CompiledPolicy, selector: Selector) -> list[NodeId]:
    return sorted(policy.members.holders(selector))


def _ssh_targets(policy: CompiledPolicy, source: NodeId, selector: Selector) -> list[NodeId]:
    if selector.kind is not Kind.SELF:
        return _nodes(policy, selector)
    node = policy.members.entries[source].node
    return [] if node.tags or node.user_id is None else sorted(policy.members.untagged.get(node.user_id, ()))
