"""Keys of the management API: create, list, revoke, and who a key stands for.

A key's text is `key_text`'s, with `wpkey-api-` before it. It holds the scopes that it was made with and nothing else.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import TYPE_CHECKING

from control.service.actor import Actor, Permission, user_actor
from control.service.errors import DeniedError, NotFoundError, ServiceError
from control.service.key_text import KeyText, check_life, secret_hash
from control.state.records import ApiKeyId, ApiKeyRecord, Role

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from control.service.core import Core
    from control.service.users import UserOperations

_TEXT = KeyText("wpkey-api-")
SCOPES = {permission.name.lower(): permission for permission in Permission}
"""Scope by name: read, users, keys, nodes, routes, policy."""


class ApiKeyOperations:
    def __init__(self, core: Core, users: UserOperations) -> None:
        self._core = core
        self._users = users

    async def list(self, actor: Actor) -> tuple[ApiKeyRecord, ...]:
        actor.require(Permission.READ)
        async with self._core.read() as tx:
            return tuple(await tx.api_keys())

    async def create(
        self,
        actor: Actor,
        *,
        scopes: Sequence[str],
        life: timedelta | None,
        description: str = "",
        user: str | None = None,
    ) -> tuple[ApiKeyRecord, str]:
        """A key and its text, which cannot be had again. Nobody gives a scope that he does not hold.

        A key of a `user` does what both its scopes and the user's role allow, as they are when it is used.
        """
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            shown = ", ".join(unknown) or "none given"
            raise ServiceError(f"no scope of an API key: {shown}", mend=f"use {', '.join(SCOPES)}")
        actor.require(Permission.KEYS)
        for scope in scopes:
            actor.require(SCOPES[scope])
        owner = None if user is None else self._users.find(user)
        if owner is not None:
            actor.require_role(owner.role)
        check_life(life, "1h or 90d")
        prefix, secret = _TEXT.make(self._core.randomness)
        async with self._core.change(actor) as draft:
            expiry = None if life is None else draft.now + life
            key = ApiKeyRecord(
                ApiKeyId(0), prefix, tuple(sorted(set(scopes))), actor.name, draft.now, expiry,
                description=description[:255], user_id=None if owner is None else owner.id,
            )  # fmt: skip
            key = replace(key, id=await draft.tx.add_api_key(key, secret_hash(secret)))
            await draft.audit(
                "apikey.create", f"apikey:{prefix}", after={"scopes": key.scopes, "expiry": expiry, "user": user}
            )
        return key, _TEXT.text(prefix, secret)

    async def revoke(self, actor: Actor, key: str) -> ApiKeyRecord:
        """By id or public part; it ends at once."""
        actor.require(Permission.KEYS)
        wanted = _TEXT.named(key)
        async with self._core.change(actor) as draft:
            for record in await draft.tx.api_keys():
                if wanted in (record.prefix, str(record.id)):
                    await draft.tx.revoke_api_key(record.id, draft.now)
                    await draft.audit("apikey.revoke", f"apikey:{record.prefix}")
                    return replace(record, revoked=draft.now)
        raise NotFoundError(f'no such API key: "{wanted}"', mend="list them: waypost-control apikeys list")

    async def actor_of(self, text: str) -> Actor:
        """Who brings this key. Raises `DeniedError` for one that is unknown, wrong, expired or revoked."""
        parts, found = _TEXT.split(text.strip()), None
        if parts is not None:
            async with self._core.read() as tx:
                found = await tx.api_key_by_prefix(parts[0])
        if parts is None or found is None or not hmac.compare_digest(found[1], parts[1]):
            raise DeniedError("this API key is not known", mend="make one: waypost-control apikeys create")
        state = found[0].state(self._core.clock.wall_now())
        if state != "valid":
            raise DeniedError(f"this API key is {state}", mend="make another one: waypost-control apikeys create")
        return self._actor(found[0])

    def _actor(self, key: ApiKeyRecord) -> Actor:
        name, scopes = f"apikey:{key.prefix}", frozenset(SCOPES[scope] for scope in key.scopes)
        if key.user_id is None:
            return Actor(name, Role.OWNER, scopes)
        user = self._core.model.users.get(key.user_id)
        if user is None:
            raise DeniedError("the user of this API key is gone", mend="make one: waypost-control apikeys create")
        return user_actor(user, scopes, by=name)
