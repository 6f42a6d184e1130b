"""Pre-auth keys: create, list, revoke, and their text form.

A key's text is `key_text`'s, with `wpkey-auth-` before it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING

from control.policy.selectors import TAG
from control.service.actor import Permission
from control.service.errors import NotFoundError, ServiceError
from control.service.key_text import KeyText, check_life, secret_hash
from control.state.records import PreAuthKeyId, PreAuthKeyRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from control.service.actor import Actor
    from control.service.core import Core
    from control.service.users import UserOperations
    from control.state.transaction import Transaction

_TEXT = KeyText("wpkey-auth-")
_LOCK_SUFFIX = "--TL"
"""Tailnet-lock wrapping that a node strips; a server may still see it (control-protocol spec 7.1)."""


class PreAuthKeyOperations:
    def __init__(self, core: Core, users: UserOperations) -> None:
        self._core = core
        self._users = users

    async def list(self, actor: Actor) -> tuple[PreAuthKeyRecord, ...]:
        actor.require(Permission.READ)
        async with self._core.read() as tx:
            return tuple(await tx.keys())

    async def create(
        self,
        actor: Actor,
        *,
        user: str | None = None,
        tags: Sequence[str] = (),
        reusable: bool = False,
        ephemeral: bool = False,
        life: timedelta | None = None,
        description: str = "",
    ) -> tuple[PreAuthKeyRecord, str]:
        """A key and its text, which cannot be had again. It needs a user or tags; `life` None = no expiry."""
        actor.require(Permission.KEYS)
        if user is None and not tags:
            raise ServiceError("a pre-auth key needs an owner", mend="give --user NAME or --tags tag:NAME")
        check_tags(self._core, tags)
        check_life(life, "1h or 30d")
        prefix, secret = _TEXT.make(self._core.randomness)
        async with self._core.change(actor) as draft:
            owner = None if user is None else self._users.find(user).id
            expiry = None if life is None else draft.now + life
            unique = tuple(sorted(set(tags)))
            key = PreAuthKeyRecord(
                PreAuthKeyId(0), prefix, owner, unique, reusable, ephemeral, draft.now, expiry,
                description=description[:255],
            )  # fmt: skip
            key = replace(key, id=await draft.tx.add_key(key, secret_hash(secret)))
            shown = {"user_id": owner, "tags": unique, "reusable": reusable, "ephemeral": ephemeral, "expiry": expiry}
            await draft.audit("key.create", f"key:{prefix}", after=shown)
        return key, _TEXT.text(prefix, secret)

    async def revoke(self, actor: Actor, key: str) -> PreAuthKeyRecord:
        """By id or public part; nodes that joined with it stay."""
        actor.require(Permission.KEYS)
        wanted = _TEXT.named(key)
        async with self._core.change(actor) as draft:
            for record in await draft.tx.keys():
                if wanted in (record.prefix, str(record.id)):
                    await draft.tx.revoke_key(record.id, draft.now)
                    await draft.audit("key.revoke", f"key:{record.prefix}")
                    return replace(record, revoked=draft.now)
        raise NotFoundError(f'no such pre-auth key: "{wanted}"', mend="list them: waypost-control preauthkeys list")


async def find_key(tx: Transaction, text: str) -> PreAuthKeyRecord | None:
    """The key of this text, whatever its state; None for an unknown one or a wrong secret."""
    bare = text.strip().partition(_LOCK_SUFFIX)[0]
    prefix, digest = _TEXT.split(bare) or imported_key(bare)
    found = await tx.key_by_prefix(prefix)
    if found is None or not hmac.compare_digest(found[1], digest):
        return None
    return found[0]


def imported_key(text: str) -> tuple[str, bytes]:
    """Public part and hash of a key that another server made: its text has no public part of ours."""
    return "i" + hashlib.sha256(b"public part " + text.encode()).hexdigest()[:12], secret_hash(text)


def check_tags(core: Core, tags: Sequence[str]) -> None:
    """Well formed, and defined in tagOwners where a policy is in force. Raises `ServiceError`."""
    for tag in tags:
        if not TAG.fullmatch(tag):
            raise ServiceError(f'not a tag: "{tag}"', mend="write tag:name with letters, digits and -")
        if core.policy_record.text and tag not in core.policy.tag_owners:
            raise ServiceError(f'tag not found: "{tag}"', mend=f'add "{tag}" to tagOwners of the policy')
