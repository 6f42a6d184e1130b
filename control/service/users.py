"""Users: create, list, rename, delete, and their roles."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from control.policy.facts import auto_approved
from control.service.actor import Permission
from control.service.errors import ConflictError, NotFoundError, ServiceError
from control.state.records import Role, UserRecord

if TYPE_CHECKING:
    from control.service.actor import Actor
    from control.service.core import Core, Draft

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,189}")


class UserOperations:
    def __init__(self, core: Core) -> None:
        self._core = core

    def list(self, actor: Actor) -> tuple[UserRecord, ...]:
        actor.require(Permission.READ)
        return tuple(sorted(self._core.model.users.values(), key=lambda user: user.id))

    def find(self, name: str) -> UserRecord:
        """By name, e-mail address or id. Raises `NotFoundError`."""
        wanted = name.strip().removesuffix("@")
        for user in self._core.model.users.values():
            if wanted in (user.name, str(user.id)) or (user.email and wanted.casefold() == user.email.casefold()):
                return user
        raise NotFoundError(f'no such user: "{name}"', mend=f"waypost-control users create {wanted}")

    async def create(
        self, actor: Actor, name: str, *, email: str = "", display_name: str = "", role: Role = Role.MEMBER
    ) -> UserRecord:
        actor.require(Permission.USERS)
        actor.require_role(role)
        _check_name(name)
        if email and not _EMAIL.fullmatch(email):
            raise ServiceError(f'not an e-mail address: "{email}"')
        async with self._core.change(actor) as draft:
            self._check_free(name, email)
            user = UserRecord(0, name, draft.now, email, display_name[:255], role)  # type: ignore[arg-type]  # no id yet
            values = {"name": name, "email": email, "display_name": user.display_name, "role": role.value}
            user = replace(user, id=await draft.tx.add_user({**values, "created": draft.now}))
            draft.users[user.id] = user
            await draft.audit("user.create", f"user:{name}", after=values)
        return user

    async def rename(self, actor: Actor, name: str, new_name: str) -> UserRecord:
        """The policy calls a user by name: rules that use the old name stop meaning this user."""
        actor.require(Permission.USERS)
        _check_name(new_name)
        async with self._core.change(actor) as draft:
            user = self.find(name)
            self._check_free(new_name, "")
            renamed = replace(user, name=new_name)
            await draft.tx.change_user(user.id, {"name": new_name})
            draft.users[user.id] = renamed
            await draft.audit("user.rename", f"user:{user.name}", {"name": user.name}, {"name": new_name})
        return renamed

    async def set_role(self, actor: Actor, name: str, role: Role) -> UserRecord:
        """What the user may do, and which autogroups of the policy hold the user's nodes. The last owner stays one."""
        actor.require(Permission.USERS)
        async with self._core.change(actor) as draft:
            user = self.find(name)
            actor.require_role(user.role)
            actor.require_role(role)
            self._check_owner_left(user, role)
            changed = replace(user, role=role)
            await draft.tx.change_user(user.id, {"role": role.value})
            draft.users[user.id] = changed
            await self._approve_routes(draft, changed)
            await draft.audit("user.role", f"user:{user.name}", {"role": user.role}, {"role": role})
        return changed

    async def _approve_routes(self, draft: Draft, user: UserRecord) -> None:
        """What autoApprovers allow nodes of this user with the new role."""
        for node in self._core.model.nodes.values():
            if node.user_id == user.id:
                granted = auto_approved(self._core.policy, node, user, node.advertised_routes)
                missing = [route for route in node.advertised_routes if route in granted - set(node.approved_routes)]
                if missing:
                    await draft.patch_node(node.id, approved_routes=(*node.approved_routes, *missing))

    def _check_owner_left(self, user: UserRecord, role: Role) -> None:
        owners = [one for one in self._core.model.users.values() if one.role is Role.OWNER]
        if role is not Role.OWNER and owners == [user]:
            mend = "make another user owner first"
            raise ConflictError(f'"{user.name}" is the only owner', mend=mend)

    def show(self, actor: Actor, name: str) -> UserRecord:
        actor.require(Permission.READ)
        return self.find(name)

    async def delete(self, actor: Actor, name: str) -> UserRecord:
        """Only without nodes; the user's pre-auth keys and API keys go too."""
        actor.require(Permission.USERS)
        async with self._core.change(actor) as draft:
            user = self.find(name)
            actor.require_role(user.role)
            owned = [node.given_name for node in self._core.model.nodes.values() if node.user_id == user.id]
            if owned:
                shown = ", ".join(sorted(owned)[:5])
                mend = "delete or tag them first with: waypost-control nodes delete NAME"
                raise ConflictError(f'user "{user.name}" still owns {len(owned)} node(s): {shown}', mend=mend)
            await draft.tx.remove_user(user.id)
            draft.users[user.id] = None
            await draft.audit("user.delete", f"user:{user.name}", {"name": user.name, "email": user.email})
        return user

    def _check_free(self, name: str, email: str) -> None:
        for user in self._core.model.users.values():
            if user.name == name:
                raise ConflictError(f'user "{name}" exists already')
            if email and user.email.casefold() == email.casefold():
                raise ConflictError(f'user "{user.name}" has the e-mail address {email} already')


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        mend = "use lower-case letters, digits, . _ and -; an e-mail address goes to --email"
        raise ServiceError(f'not a user name: "{name}"', mend=mend)
