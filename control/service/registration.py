"""POST /machine/register, in the decision order of control-protocol spec 7.4.

A node is (machine key, owner). The machine key is proven by the tunnel, so a node key that is known for it needs no
pre-auth key again; everything else does. Logging in with a browser is not offered: such a request gets an `Error`
that says how to join.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from appliance.proto.control.messages import (
    Hostinfo,
    Login,
    RegisterRequest,
    RegisterResponse,
    User,
    format_time,
    parse_time,
)
from appliance.types.errors import ApplianceError, DecodeError
from appliance.types.ids import NodeId, StableNodeId, UserId
from appliance.types.keys import MachinePublicKey, NodePublicKey
from control.policy.facts import owns_tag
from control.service.actor import SYSTEM
from control.service.keys import find_key
from control.service.nodes import approvals
from control.service.updates import hostinfo_fields
from control.state.records import NodeRecord, PreAuthKeyRecord

if TYPE_CHECKING:
    from control.service.core import Core, Draft

_log = structlog.get_logger(__name__)

NEEDS_KEY = (
    "this server lets nodes join with a pre-auth key only: make one with "
    "'waypost-control preauthkeys create --user NAME' and join with it"
)


class _RefusedError(Exception):
    """Becomes `Error` of the response."""


@dataclass(frozen=True, slots=True)
class _Owner:
    """Who will own the node: a user, or tags."""

    user_id: UserId | None
    tags: tuple[str, ...]


class Registrar:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def register(
        self, machine_key: MachinePublicKey, request: RegisterRequest, remote_ip: str
    ) -> RegisterResponse:
        try:
            return await self._decide(machine_key, request)
        except _RefusedError as refusal:
            _log.info("registration refused", machine=machine_key.short, remote_ip=remote_ip, reason=str(refusal))
            return RegisterResponse(error=str(refusal))
        except ApplianceError as error:
            _log.warning("registration failed", machine=machine_key.short, remote_ip=remote_ip, error=error.text)
            return RegisterResponse(error=error.line())

    async def _decide(self, machine_key: MachinePublicKey, request: RegisterRequest) -> RegisterResponse:
        node_key, expiry = _parse(request)
        now = self._core.clock.wall_now()
        if expiry is not None and expiry <= now:
            return await self._log_out(machine_key, node_key)
        node = self._core.model.node_by_key(node_key)
        if node is not None and node.machine_key != machine_key:
            raise _RefusedError("this node key belongs to another machine")
        auth_key = request.auth.auth_key if request.auth is not None else ""
        if auth_key:
            return await self._join(machine_key, node_key, auth_key, request, expiry)
        if request.followup:
            raise _RefusedError(NEEDS_KEY)
        if node is None:
            raise _RefusedError(NEEDS_KEY)
        if node.is_expired(now):
            return self._response(node, expired=True)
        if expiry is not None and (node.key_expiry is None or expiry < node.key_expiry):
            node = await self._shorten(node, expiry)
        return self._response(node)

    async def _shorten(self, node: NodeRecord, expiry: datetime) -> NodeRecord:
        async with self._core.change(SYSTEM) as draft:
            if node.id in self._core.model.nodes:
                await draft.patch_node(node.id, key_expiry=expiry)
                before, after = {"expiry": node.key_expiry}, {"expiry": expiry}
                await draft.audit("node.expire", f"node:{node.id}", before, after)
        return self._core.model.nodes.get(node.id, node)

    async def _log_out(self, machine_key: MachinePublicKey, node_key: NodePublicKey) -> RegisterResponse:
        async with self._core.change(SYSTEM) as draft:
            node = self._core.model.node_by_key(node_key)
            if node is not None and node.machine_key == machine_key:
                if node.ephemeral:
                    await draft.remove_node(node.id)
                else:
                    await draft.patch_node(node.id, key_expiry=draft.now)
                await draft.audit("node.logout", f"node:{node.id}", {"name": node.given_name})
        return RegisterResponse(node_key_expired=True)

    # Joining with a pre-auth key

    async def _join(
        self,
        machine_key: MachinePublicKey,
        node_key: NodePublicKey,
        auth_key: str,
        request: RegisterRequest,
        expiry: datetime | None,
    ) -> RegisterResponse:
        async with self._core.change(SYSTEM) as draft:
            key = await find_key(draft.tx, auth_key)
            known = self._core.model.node_by_key(node_key)
            if known is not None and not known.is_expired(draft.now) and self._repeats(known, key, request):
                return self._response(known)
            key = _usable(key, draft.now)
            owner = self._owner(key, request)
            node = self._node_of(machine_key, owner)
            if known is not None and (node is None or known.id != node.id):
                # One node key for two owners: the client makes another and comes back.
                return RegisterResponse(node_key_expired=True)
            if not await draft.tx.use_key(key.id, draft.now):
                raise _RefusedError("this pre-auth key has been used already; make another one")
            ephemeral = key.ephemeral or request.ephemeral
            fields: dict[str, Any] = {
                "node_key": node_key,
                "user_id": owner.user_id,
                "tags": owner.tags,
                "ephemeral": ephemeral,
                "pre_auth_key_id": key.id,
                "capability_version": request.version,
                "key_expiry": self._expiry(owner, expiry, draft.now),
            }
            if node is None:
                node = await self._add(draft, machine_key, fields, request.hostinfo)
            else:
                await self._renew(draft, node, fields, request.hostinfo)
        return self._response(self._core.model.nodes[node.id])

    def _repeats(self, node: NodeRecord, key: PreAuthKeyRecord | None, request: RegisterRequest) -> bool:
        """A restart or a lost reply: same machine, same unexpired node key, no other owner asked for."""
        if key is None or key.state(self._core.clock.wall_now()) != "valid":
            return True
        owner = self._owner(key, request)
        return owner.user_id == node.user_id if not owner.tags else node.user_id is None

    def _owner(self, key: PreAuthKeyRecord, request: RegisterRequest) -> _Owner:
        wanted = tuple(request.hostinfo.request_tags) if request.hostinfo is not None else ()
        user = None if key.user_id is None else self._core.model.users.get(key.user_id)
        refused = [
            tag
            for tag in wanted
            if tag not in key.tags and not (user is not None and owns_tag(self._core.policy, user, tag))
        ]
        if refused:
            raise _RefusedError(f"requested tags [{' '.join(refused)[:200]}] are invalid or not permitted")
        tags = tuple(sorted({*key.tags, *wanted}))
        return _Owner(None if tags else key.user_id, tags)

    def _node_of(self, machine_key: MachinePublicKey, owner: _Owner) -> NodeRecord | None:
        """The machine's node of this owner. Tags take over the one node that a user owned."""
        nodes = self._core.model.nodes_of_machine(machine_key)
        if not owner.tags:
            return next((node for node in nodes if node.user_id == owner.user_id and not node.tags), None)
        tagged = next((node for node in nodes if node.tags), None)
        if tagged is not None:
            return tagged
        if len(nodes) > 1:
            raise _RefusedError("several users own this machine; delete their nodes before it joins with tags")
        return nodes[0] if nodes else None

    def _expiry(self, owner: _Owner, asked: datetime | None, now: datetime) -> datetime | None:
        """Tagged nodes never expire; a client may ask for less than the server's policy, never for more."""
        life = self._core.settings.key_expiry
        limits = [asked] if asked is not None else []
        if life is not None and not owner.tags:
            limits.append(now + life)
        return min(limits, default=None)

    async def _add(
        self, draft: Draft, machine_key: MachinePublicKey, fields: dict[str, Any], hostinfo: Hostinfo | None
    ) -> NodeRecord:
        bare = NodeRecord(
            id=NodeId(0),
            stable_id=StableNodeId("n" + self._core.randomness.bytes(8).hex()),
            machine_key=machine_key,
            given_name="",
            ipv4=await draft.tx.give_ipv4(),
            ipv6=await draft.tx.give_ipv6(),
            created=draft.now,
            last_seen=draft.now,
            **fields,
        )
        node = await draft.add_node(replace(bare, **hostinfo_fields(self._core, bare, hostinfo or Hostinfo())))
        shown = {"name": node.given_name, "ipv4": node.ipv4, "user_id": node.user_id, "tags": node.tags}
        await draft.audit("node.register", f"node:{node.id}", after=shown)
        return node

    async def _renew(self, draft: Draft, node: NodeRecord, fields: dict[str, Any], hostinfo: Hostinfo | None) -> None:
        """Key rotation or another login: id, stable id, addresses and name stay; key tags count at first only."""
        if node.tags and fields["tags"]:
            fields = {**fields, "tags": node.tags}
        fields = {**fields, **hostinfo_fields(self._core, replace(node, **fields), hostinfo)}
        fields.setdefault("approved_routes", approvals(self._core, replace(node, **fields)))
        await draft.patch_node(node.id, **fields)
        before = {"node_key": node.node_key.short, "user_id": node.user_id, "tags": node.tags}
        after = {"node_key": fields["node_key"].short, "user_id": fields["user_id"], "tags": fields["tags"]}
        await draft.audit("node.renew", f"node:{node.id}", before, after)

    def _response(self, node: NodeRecord, *, expired: bool = False) -> RegisterResponse:
        user_id, login_name, display_name = self._core.model.owner(node)
        owner = self._core.owner_of(node)
        created = format_time(owner.created) if owner is not None else ""
        return RegisterResponse(
            user=User(id=user_id, display_name=display_name, created=created),
            login=Login(id=user_id, login_name=login_name, display_name=display_name),
            node_key_expired=expired,
            machine_authorized=not expired,
        )


def _parse(request: RegisterRequest) -> tuple[NodePublicKey, datetime | None]:
    try:
        node_key = NodePublicKey.parse(request.node_key)
        expiry = parse_time(request.expiry)
    except DecodeError as error:
        raise _RefusedError(f"the registration cannot be read: {error.text}") from None
    if node_key.is_zero:
        raise _RefusedError("the registration names no node key")
    return node_key, None if expiry is None else expiry.astimezone(UTC)


def _usable(key: PreAuthKeyRecord | None, now: datetime) -> PreAuthKeyRecord:
    if key is None:
        raise _RefusedError("this pre-auth key does not exist on this server; make one: preauthkeys create")
    reasons = {
        "revoked": "this pre-auth key has been revoked; make another one",
        "expired": "this pre-auth key has expired; make another one",
        "used": "this pre-auth key has been used already; make another one",
    }
    state = key.state(now)
    if state in reasons:
        raise _RefusedError(reasons[state])
    return key
