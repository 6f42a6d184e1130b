"""SSH logins that need a check: held until a person lets them, then remembered for the rule's period
(policy-and-management spec 2.7, node-os spec 4.2).

The target node asks over its tunnel and waits. What waits and what was passed is in memory only: a restart means that
people are asked again. Passed checks are forgotten when the policy changes, and count for the owner and the node key
that the source had.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from appliance.proto.control import messages as wire
from control.policy.ssh import CHECK_URL, accept_action
from control.service.actor import Permission
from control.service.errors import ConflictError, NotFoundError
from control.service.pending import Decision

if TYPE_CHECKING:
    from datetime import datetime

    from appliance.types.ids import NodeId, UserId
    from appliance.types.keys import NodePublicKey
    from control.service.actor import Actor
    from control.service.core import Core
    from control.state.records import NodeRecord

LIFE_S = 900.0
HOLD_S = 50.0
"""A node that waits is answered at least this often, so that dead ones do not wait for ever."""
MAX_CHECKS = 1024
MAX_OF_A_TARGET = 16
MAX_LOGIN_LETTERS = 64
_ID_BYTES = 10
AUTH_PATH = "/auth/"

_Proof = tuple["UserId", "NodePublicKey"]


@dataclass(slots=True, eq=False)
class SshCheck:
    """`source` wants to log in to `target` as `login`. `due` is monotonic seconds."""

    id: str
    source: NodeId
    target: NodeId
    login: str
    created: datetime
    due: float
    decision: Decision = Decision.WAITING
    decided: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def decide(self, decision: Decision) -> None:
        self.decision = decision
        self.decided.set()


class SshChecks:
    """Drive time with `sweep`. `hold_s`: longest wait of one question."""

    def __init__(self, core: Core, hold_s: float = HOLD_S) -> None:
        self._core = core
        self._hold_s = hold_s
        self._checks: dict[str, SshCheck] = {}
        self._passed: dict[tuple[NodeId, NodeId], tuple[float, _Proof]] = {}
        self._policy_version = core.policy_record.version

    # What nodes ask

    async def action(self, target: NodeRecord, source_id: NodeId, login: str, check_id: str) -> wire.SshAction:
        """What `target` is to do with the login; waits for a person where `check_id` names a check."""
        source = self._core.model.nodes.get(source_id)
        proof = None if source is None else _proof(source)
        period_s = self._core.compiled.ssh_check_period(source_id, target.id, login)
        if source is None or proof is None or period_s is None or len(login) > MAX_LOGIN_LETTERS:
            return _reject("The policy lets nobody from there log in so.")
        check = self._checks.get(check_id)
        if check is not None and (check.source, check.target, check.login) == (source.id, target.id, login):
            return await self._verdict(check, proof)
        if self._was_passed(source, target, proof, period_s):
            return accept_action()
        return self._hold(self._begin(source, target, login), first=True)

    async def _verdict(self, check: SshCheck, proof: _Proof) -> wire.SshAction:
        try:
            async with asyncio.timeout(self._hold_s):
                await check.decided.wait()
        except TimeoutError:
            return self._hold(check, first=False)
        if check.decision is Decision.APPROVED:
            # The policy, the owner and the key are those of this moment, not of the question's.
            source = self._core.model.nodes.get(check.source)
            period_s = self._core.compiled.ssh_check_period(check.source, check.target, check.login)
            if source is not None and _proof(source) == proof and period_s is not None:
                return accept_action()
        denied = check.decision is Decision.DENIED
        return _reject("An administrator denied this login." if denied else "Nobody let this login in.")

    def _was_passed(self, source: NodeRecord, target: NodeRecord, proof: _Proof, period_s: float) -> bool:
        self._forget_old_policy()
        passed = self._passed.get((source.id, target.id))
        return passed is not None and passed[1] == proof and self._core.clock.now() - passed[0] < period_s

    def _forget_old_policy(self) -> None:
        if self._policy_version != self._core.policy_record.version:
            self._policy_version = self._core.policy_record.version
            self._passed.clear()

    def _begin(self, source: NodeRecord, target: NodeRecord, login: str) -> SshCheck:
        """The check that waits for this very login, else a new one; a target with too many loses its own oldest."""
        wanted = (source.id, target.id, login)
        for check in self._checks.values():
            if check.decision is Decision.WAITING and (check.source, check.target, check.login) == wanted:
                return check
        self._make_room(target.id)
        now = self._core.clock.now()
        check = SshCheck(
            self._core.randomness.bytes(_ID_BYTES).hex(), *wanted, self._core.clock.wall_now(), now + LIFE_S
        )
        self._checks[check.id] = check
        return check

    def _make_room(self, target: NodeId) -> None:
        mine = [check for check in self._checks.values() if check.target == target]
        if len(mine) >= MAX_OF_A_TARGET:
            self._remove(mine[0])
        elif len(self._checks) >= MAX_CHECKS:
            self._remove(next(iter(self._checks.values())))

    def _hold(self, check: SshCheck, *, first: bool) -> wire.SshAction:
        page = f"{self._core.settings.url}{AUTH_PATH}{check.id}"
        message = f"# This login needs a check. To let it in, see:\r\n# {page}\r\n"
        return wire.SshAction(hold_and_delegate=f"{CHECK_URL}&auth_id={check.id}", message=message if first else "")

    # What people do

    def list(self, actor: Actor) -> tuple[SshCheck, ...]:
        """What waits, oldest first."""
        actor.require(Permission.READ)
        return tuple(check for check in self._checks.values() if check.decision is Decision.WAITING)

    def waiting(self, check_id: str) -> SshCheck | None:
        """For the page behind the URL: whoever has the id may see what it is about."""
        check = self._checks.get(check_id)
        return check if check is not None and check.decision is Decision.WAITING else None

    async def approve(self, actor: Actor, check_id: str) -> SshCheck:
        """Let the login in, and others between the two nodes for the period of the rule."""
        check = await self._decide(actor, check_id, "ssh.approve")
        source = self._core.model.nodes.get(check.source)
        proof = None if source is None else _proof(source)
        if proof is not None:
            self._forget_old_policy()
            self._passed[check.source, check.target] = (self._core.clock.now(), proof)
        check.decide(Decision.APPROVED)
        return check

    async def deny(self, actor: Actor, check_id: str) -> SshCheck:
        check = await self._decide(actor, check_id, "ssh.deny")
        check.decide(Decision.DENIED)
        return check

    async def _decide(self, actor: Actor, check_id: str, action: str) -> SshCheck:
        actor.require(Permission.NODES)
        wanted = check_id.strip().rstrip("/").rpartition("/")[2].lower()
        check = self._checks.get(wanted)
        if check is None:
            mend = "list them: waypost-control ssh pending; after 15 minutes a login must begin anew"
            raise NotFoundError(f'no SSH login waits under "{wanted[:64]}"', mend=mend)
        async with self._core.change(actor) as draft:
            if check.decision is not Decision.WAITING:
                raise ConflictError(f"this login is {check.decision} already", mend="let the user log in again")
            after = {"source": f"node:{check.source}", "login": check.login}
            await draft.audit(action, f"node:{check.target}", None, after)
        return check

    def sweep(self) -> None:
        """Forget what is too old; called about once a second."""
        now = self._core.clock.now()
        for check in [check for check in self._checks.values() if check.due <= now]:
            self._remove(check)
        gone = [pair for pair in self._passed if not self._core.model.nodes.keys() >= set(pair)]
        for pair in gone:
            del self._passed[pair]

    def _remove(self, check: SshCheck) -> None:
        del self._checks[check.id]
        if check.decision is Decision.WAITING:
            check.decide(Decision.EXPIRED)


def _proof(source: NodeRecord) -> _Proof | None:
    """Who passes a check; nobody stands behind a tagged node."""
    return None if source.tags or source.user_id is None else (source.user_id, source.node_key)


def _reject(reason: str) -> wire.SshAction:
    return wire.SshAction(reject=True, message=f"{reason}\r\n")
