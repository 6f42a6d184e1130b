"""The policy: check, get, set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from control.policy.checks import run_tests
from control.policy.compiled import CompiledPolicy
from control.policy.document import parse_policy, unknown_users
from control.policy.facts import auto_approved, is_called
from control.policy.problems import PolicyError
from control.service.actor import Permission
from control.service.errors import ConflictError, NotFoundError
from control.service.present import mesh_json
from control.state.records import PolicyRecord

if TYPE_CHECKING:
    from control.policy.model import Policy
    from control.policy.problems import Problem
    from control.service.actor import Actor
    from control.service.core import Core, Draft


def check_text(text: str | bytes) -> Policy:
    """Parse without a server. Raises `PolicyError` with every problem."""
    return parse_policy(text)


class PolicyOperations:
    def __init__(self, core: Core) -> None:
        self._core = core

    def get(self, actor: Actor) -> PolicyRecord:
        """The version in force, its bytes as they were given; version 0 = none, everybody reaches everything."""
        actor.require(Permission.READ)
        return self._core.policy_record

    async def history(self, actor: Actor) -> list[PolicyRecord]:
        """Every version, the newest first."""
        actor.require(Permission.READ)
        async with self._core.read() as tx:
            return await tx.policies()

    async def revert(self, actor: Actor, version: int) -> tuple[PolicyRecord, tuple[Problem, ...]]:
        """Put the text of an older version in force as a new one. Raises `NotFoundError` and what `set` raises."""
        current = self._core.policy_record.version
        for record in await self.history(actor):
            if record.version == version:
                return await self.set(actor, record.text, base_version=current)
        raise NotFoundError(f"there is no version {version}", mend="list them: waypost-control policy history")

    def mesh(self, actor: Actor) -> dict[str, Any]:
        """Users and nodes in the form of a mesh file."""
        actor.require(Permission.READ)
        return mesh_json(self._core.model)

    def check(self, actor: Actor, text: str) -> tuple[Problem, ...]:
        """Warnings; a refusal raises `PolicyError`, also when the policy's own tests fail on today's mesh."""
        actor.require(Permission.READ)
        policy = check_text(text)
        self._test(policy)
        return self._warnings(policy)

    def _test(self, policy: Policy) -> None:
        model = self._core.model
        failures = run_tests(CompiledPolicy(policy, model.users.values(), model.nodes.values()))
        if failures:
            raise PolicyError(failures)

    async def set(
        self, actor: Actor, text: str, *, base_version: int | None = None
    ) -> tuple[PolicyRecord, tuple[Problem, ...]]:
        """Put a new version in force, if its own tests pass; with `base_version` only if that one is in force.

        Raises `PolicyError`, `ConflictError`.
        """
        actor.require(Permission.POLICY)
        policy = check_text(text)
        async with self._core.change(actor) as draft:
            current = self._core.policy_record
            if base_version is not None and base_version != current.version:
                mend = "read it again, repeat the change on it, then set it"
                raise ConflictError(f"the policy is at version {current.version} now, not {base_version}", mend=mend)
            self._test(policy)
            record = PolicyRecord(current.version + 1, text, draft.now, actor.name)
            await draft.tx.add_policy(record)
            await self._approve_routes(draft, policy)
            draft.policy = (record, policy)
            await draft.audit("policy.set", "policy", {"version": current.version}, {"version": record.version})
        return record, self._warnings(policy)

    async def _approve_routes(self, draft: Draft, policy: Policy) -> None:
        """What the new autoApprovers allow and nobody approved yet."""
        for node in self._core.model.nodes.values():
            owner = self._core.owner_of(node)
            granted = auto_approved(policy, node, owner, node.advertised_routes) - set(node.approved_routes)
            if granted:
                order = sorted(granted, key=lambda route: (route.version, int(route.network_address)))
                approved = (*node.approved_routes, *order)
                await draft.patch_node(node.id, approved_routes=approved)

    def _warnings(self, policy: Policy) -> tuple[Problem, ...]:
        users = self._core.model.users.values()
        return unknown_users(policy, lambda name: any(is_called(user, name) for user in users))
