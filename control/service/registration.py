"""POST /machine/register, in the decision order of control-protocol spec 7.4.

A node is (machine key, owner). The machine key is proven by the tunnel, so a node key that is known for it needs no
pre-auth key again; everything else does, or waits for an administrator (`control.service.pending`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
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
from control.service.errors import ConflictError, ServiceError
from control.service.keys import find_key
from control.service.nodes import approvals
from control.service.pending import Decision
from control.service.updates import hostinfo_fields
from control.state.records import NodeRecord, PreAuthKeyRecord, UserRecord

if TYPE_CHECKING:
    from control.service.actor import Actor
    from control.service.core import Core, Draft
    from control.service.pending import PendingLogin, PendingLogins

_log = structlog.get_logger(__name__)

REGISTER_PATH = "/register/"


class _RefusedError(Exception):
    """Becomes `Error` of the response."""


@dataclass(frozen=True, slots=True)
class _Owner:
    """Who will own the node: a user, or tags."""

    user_id: UserId | None
    tags: tuple[str, ...]


class Registrar:
    def __init__(self, core: Core, pending: PendingLogins) -> None:
        self._core = core
        self._pending = pending

    async def register(
        self, machine_key: MachinePublicKey, request: RegisterRequest, remote_ip: str
    ) -> RegisterResponse:
        try:
            return await self._decide(machine_key, request, remote_ip)
        except _RefusedError as refusal:
            _log.info("registration refused", machine=machine_key.short, remote_ip=remote_ip, reason=str(refusal))
            return RegisterResponse(error=str(refusal))
        except ApplianceError as error:
            _log.warning("registration failed", machine=machine_key.short, remote_ip=remote_ip, error=error.text)
            return RegisterResponse(error=error.line())

    async def _decide(
        self, machine_key: MachinePublicKey, request: RegisterRequest, remote_ip: str
    ) -> RegisterResponse:
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
        if node is None or (request.followup and node.is_expired(now)):
            waited = self._pending.find(_login_id(request.followup))
            if waited is not None and waited.machine_key == machine_key and waited.node_key == node_key:
                return await self._follow(waited)
            return self._visit(self._pending.begin(machine_key, node_key, request, expiry, remote_ip))
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

    # Joining by the decision of an administrator

    def _visit(self, login: PendingLogin) -> RegisterResponse:
        return RegisterResponse(auth_url=f"{self._core.settings.url}{REGISTER_PATH}{login.id}")

    async def _follow(self, login: PendingLogin) -> RegisterResponse:
        """Hold the answer until somebody decides; a login that got too old begins anew under another id."""
        if not await login.wait():
            raise _RefusedError("another request waits for this login")
        match login.decision:
            case Decision.DENIED:
                raise _RefusedError("an administrator of this server denied the login")
            case Decision.REPLACED:
                raise _RefusedError("this device began another login meanwhile")
            case Decision.EXPIRED:
                again = self._pending.begin(
                    login.machine_key, login.node_key, login.request, login.wished_expiry, login.remote_ip
                )
                return self._visit(again)
        node = self._core.model.node_by_key(login.node_key)
        if node is None or node.machine_key != login.machine_key:
            return RegisterResponse(node_key_expired=True)
        return self._response(node, expired=node.is_expired(self._core.clock.wall_now()))

    async def admit(self, actor: Actor, login: PendingLogin, user: UserRecord) -> NodeRecord:
        """Make the waiting device a node of the user. Raises `ServiceError`."""
        async with self._core.change(actor) as draft:
            if login.decision is not Decision.WAITING:
                raise ConflictError(f"this login is {login.decision} already", mend="let the device begin another one")
            try:
                owner = self._owner_for(user, (), login.request)
                node = self._node_of(login.machine_key, owner)
            except _RefusedError as refusal:
                raise ServiceError(str(refusal), mend="name another user, or change tagOwners of the policy") from None
            known = self._core.model.node_by_key(login.node_key)
            if known is not None and (node is None or known.id != node.id):
                mend = "let the device begin another login"
                raise ConflictError("the device's node key is in use by another of its nodes", mend=mend)
            fields: dict[str, Any] = {
                "node_key": login.node_key,
                "user_id": owner.user_id,
                "tags": owner.tags,
                "ephemeral": login.request.ephemeral,
                "capability_version": login.request.version,
                "key_expiry": self._expiry(owner, login.wished_expiry, draft.now),
            }
            node = await self._put(draft, login.machine_key, node, fields, login.request.hostinfo)
        return self._core.model.nodes[node.id]

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
            node = await self._put(draft, machine_key, node, fields, request.hostinfo)
        return self._response(self._core.model.nodes[node.id])

    def _repeats(self, node: NodeRecord, key: PreAuthKeyRecord | None, request: RegisterRequest) -> bool:
        """A restart or a lost reply: same machine, same unexpired node key, no other owner asked for."""
        if key is None or key.state(self._core.clock.wall_now()) != "valid":
            return True
        owner = self._owner(key, request)
        return owner.user_id == node.user_id if not owner.tags else node.user_id is None

    def _owner(self, key: PreAuthKeyRecord, request: RegisterRequest) -> _Owner:
        user = None if key.user_id is None else self._core.model.users.get(key.user_id)
        return self._owner_for(user, key.tags, request)

    def _owner_for(self, user: UserRecord | None, given: tuple[str, ...], request: RegisterRequest) -> _Owner:
        """`given` are tags that need no ownership."""
        wanted = tuple(request.hostinfo.request_tags) if request.hostinfo is not None else ()
        refused = [
            tag
            for tag in wanted
            if tag not in given and not (user is not None and owns_tag(self._core.policy, user, tag))
        ]
        if refused:
            raise _RefusedError(f"requested tags [{' '.join(refused)[:200]}] are invalid or not permitted")
        tags = tuple(sorted({*given, *wanted}))
        return _Owner(None if tags or user is None else user.id, tags)

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

    async def _put(
        self,
        draft: Draft,
        machine_key: MachinePublicKey,
        node: NodeRecord | None,
        fields: dict[str, Any],
        hostinfo: Hostinfo | None,
    ) -> NodeRecord:
        """A new node, or another key for the one that this machine has."""
        if node is None:
            return await self._add(draft, machine_key, fields, hostinfo)
        await self._renew(draft, node, fields, hostinfo)
        return node

    async def _add(
        self, draft: Draft, machine_key: MachinePublicKey, fields: dict[str, Any], hostinfo: Hostinfo | None
    ) -> NodeRecord:
        bare = NodeRecord(
            id=NodeId(0),
            stable_id=StableNodeId("n" + self._core.randomness.bytes(8).hex()),
            machine_key=machine_key,
            given_name="",
            ipv4=IPv4Address(0),
            ipv6=await draft.tx.give_ipv6(self._core.draw()),
            created=draft.now,
            last_seen=draft.now,
            **fields,
        )
        bare = replace(bare, ipv4=await self._give_ipv4(draft, bare))
        node = await draft.add_node(replace(bare, **hostinfo_fields(self._core, bare, hostinfo or Hostinfo())))
        shown = {"name": node.given_name, "ipv4": node.ipv4, "user_id": node.user_id, "tags": node.tags}
        await draft.audit("node.register", f"node:{node.id}", after=shown)
        return node

    async def _give_ipv4(self, draft: Draft, node: NodeRecord) -> IPv4Address:
        """From the pools that the policy names for the node, the first that has a free address, else from all."""
        pools = self._core.compiled.pools_for(node)
        for pool in pools:
            given = await draft.tx.give_ipv4_of(pool, self._core.draw())
            if given is not None:
                return given
        if pools:
            shown = ", ".join(str(pool) for pool in pools)
            raise ConflictError(f"the address pool {shown} is used up", mend="an administrator must widen it")
        return await draft.tx.give_ipv4(self._core.draw())

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


def _login_id(followup: str) -> str:
    """The id in the path of an AuthURL, whatever the host before it."""
    path = followup.partition("?")[0].partition("#")[0]
    return path.rpartition(REGISTER_PATH)[2][:64] if REGISTER_PATH in path else ""


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
