"""Pre-auth keys: create, list, revoke, and their text form.

A key is `wpkey-auth-` + 12 hex digits (public, names the key) + `-` + 48 hex digits (secret, 192 bits). Only the
SHA-256 of the secret is stored: a secret of that size needs no slow hash. The text is shown once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from control.policy.selectors import TAG
from control.service.actor import Permission
from control.service.errors import NotFoundError, ServiceError
from control.state.records import PreAuthKeyId, PreAuthKeyRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from control.service.actor import Actor
    from control.service.core import Core
    from control.service.users import UserOperations
    from control.state.transaction import Transaction

PREFIX = "wpkey-auth-"
_TEXT = re.compile(r"wpkey-auth-([0-9a-f]{12})-([0-9a-f]{48})")
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
        if life is not None and life.total_seconds() <= 0:
            raise ServiceError("the key would be expired already", mend="give a positive --expiration, as 1h or 30d")
        prefix, secret = self._core.randomness.bytes(6).hex(), self._core.randomness.bytes(24).hex()
        async with self._core.change(actor) as draft:
            owner = None if user is None else self._users.find(user).id
            expiry = None if life is None else draft.now + life
            unique = tuple(sorted(set(tags)))
            key = PreAuthKeyRecord(
                PreAuthKeyId(0), prefix, owner, unique, reusable, ephemeral, draft.now, expiry,
                description=description[:255],
            )  # fmt: skip
            key = replace(key, id=await draft.tx.add_key(key, _hash(secret)))
            shown = {"user_id": owner, "tags": unique, "reusable": reusable, "ephemeral": ephemeral, "expiry": expiry}
            await draft.audit("key.create", f"key:{prefix}", after=shown)
        return key, f"{PREFIX}{prefix}-{secret}"

    async def revoke(self, actor: Actor, key: str) -> PreAuthKeyRecord:
        """By id or public part; nodes that joined with it stay."""
        actor.require(Permission.KEYS)
        wanted = key.strip().removeprefix(PREFIX).partition("-")[0]
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
    match = _TEXT.fullmatch(bare)
    prefix, secret_hash = imported_key(bare) if match is None else (match.group(1), _hash(match.group(2)))
    found = await tx.key_by_prefix(prefix)
    if found is None or not hmac.compare_digest(found[1], secret_hash):
        return None
    return found[0]


def imported_key(text: str) -> tuple[str, bytes]:
    """Public part and hash of a key that another server made: its text has no public part of ours."""
    return "i" + hashlib.sha256(b"public part " + text.encode()).hexdigest()[:12], _hash(text)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def check_tags(core: Core, tags: Sequence[str]) -> None:
    """Well formed, and defined in tagOwners where a policy is in force. Raises `ServiceError`."""
    for tag in tags:
        if not TAG.fullmatch(tag):
            raise ServiceError(f'not a tag: "{tag}"', mend="write tag:name with letters, digits and -")
        if core.policy_record.text and tag not in core.policy.tag_owners:
            raise ServiceError(f'tag not found: "{tag}"', mend=f'add "{tag}" to tagOwners of the policy')
