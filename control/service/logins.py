"""Logins without a key: list what waits, approve, deny."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.service.actor import Permission
from control.service.errors import ConflictError, NotFoundError
from control.service.pending import Decision

if TYPE_CHECKING:
    from control.service.actor import Actor
    from control.service.core import Core
    from control.service.pending import PendingLogin, PendingLogins
    from control.service.registration import Registrar
    from control.service.users import UserOperations
    from control.state.records import NodeRecord


class LoginOperations:
    def __init__(self, core: Core, pending: PendingLogins, registrar: Registrar, users: UserOperations) -> None:
        self._core = core
        self._pending = pending
        self._registrar = registrar
        self._users = users

    def list(self, actor: Actor) -> tuple[PendingLogin, ...]:
        """What waits for a decision, oldest first."""
        actor.require(Permission.READ)
        return self._pending.waiting()

    def waiting(self, login_id: str) -> PendingLogin | None:
        """For the page behind the URL: whoever has the id may see what it is about."""
        login = self._pending.find(login_id)
        return login if login is not None and login.decision is Decision.WAITING else None

    async def approve(self, actor: Actor, login_id: str, user: str) -> NodeRecord:
        """The device becomes a node of the user; its follow-up request is answered. Raises `ServiceError`."""
        actor.require(Permission.NODES)
        login = self._find(login_id)
        owner = self._users.find(user)
        node = await self._registrar.admit(actor, login, owner)
        login.decide(Decision.APPROVED)
        return node

    async def deny(self, actor: Actor, login_id: str) -> PendingLogin:
        """The device is told that it may not join."""
        actor.require(Permission.NODES)
        login = self._find(login_id)
        async with self._core.change(actor) as draft:
            await draft.audit("login.deny", f"machine:{login.machine_key.short}", {"hostname": login.hostinfo.hostname})
        login.decide(Decision.DENIED)
        return login

    def _find(self, login_id: str) -> PendingLogin:
        """By id or the whole URL."""
        wanted = login_id.strip().rstrip("/").rpartition("/")[2].lower()
        login = self._pending.find(wanted)
        if login is None:
            mend = "list them: waypost-control nodes pending; after 15 minutes the device shows a new one"
            raise NotFoundError(f'no login waits under "{wanted[:64]}"', mend=mend)
        if login.decision is not Decision.WAITING:
            raise ConflictError(f"this login is {login.decision} already", mend="let the device begin another one")
        return login
