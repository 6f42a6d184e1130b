"""Nodes: list, find, rename, expire, delete, tag, give another address."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, Any

from appliance.types.addresses import CGNAT_V4, ULA_V6
from control.policy.facts import auto_approved
from control.service.actor import Permission
from control.service.errors import ConflictError, NotFoundError, ServiceError
from control.service.keys import check_tags
from control.service.names import is_label
from control.state.addresses import pool_v4, pool_v6

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from appliance.types.addresses import Prefix
    from control.service.actor import Actor
    from control.service.core import Core
    from control.state.records import NodeRecord


class NodeOperations:
    def __init__(self, core: Core) -> None:
        self._core = core

    def list(self, actor: Actor) -> tuple[NodeRecord, ...]:
        actor.require(Permission.READ)
        return tuple(sorted(self._core.model.nodes.values(), key=lambda node: node.id))

    def show(self, actor: Actor, name: str) -> NodeRecord:
        actor.require(Permission.READ)
        return self.find(name)

    def find(self, name: str) -> NodeRecord:
        """By name, id or overlay address. Raises `NotFoundError`."""
        wanted = name.strip().removesuffix(".").removesuffix("." + self._core.settings.domain)
        named = self._core.model.node_by_name(wanted.lower())
        if named is not None:
            return named
        for node in self._core.model.nodes.values():
            if wanted in (str(node.id), node.stable_id, str(node.ipv4), str(node.ipv6)):
                return node
        raise NotFoundError(f'no such node: "{name}"', mend="list them: waypost-control nodes list")

    async def rename(self, actor: Actor, name: str, new_name: str) -> NodeRecord:
        """From then on the name does not follow the hostname."""
        actor.require(Permission.NODES)
        label = new_name.strip().lower()
        if not is_label(label) or len(label) + len(self._core.settings.domain) > 253:
            raise ServiceError(f'not a host name: "{new_name}"', mend="use letters, digits and -, at most 63")
        async with self._core.change(actor) as draft:
            node = self.find(name)
            holder = self._core.model.node_by_name(label)
            if holder is not None and holder.id != node.id:
                raise ConflictError(f'the name "{label}" belongs to node {holder.id}', mend="choose another")
            await draft.patch_node(node.id, given_name=label, renamed=True)
            await draft.audit("node.rename", _target(node), {"name": node.given_name}, {"name": label})
        return self._core.model.nodes[node.id]

    async def expire(self, actor: Actor, name: str, at: datetime | None = None) -> NodeRecord:
        """The node must log in again from `at` on, default now; tagged nodes too."""
        actor.require(Permission.NODES)
        async with self._core.change(actor) as draft:
            node = self.find(name)
            expiry = draft.now if at is None else at
            await draft.patch_node(node.id, key_expiry=expiry)
            await draft.audit("node.expire", _target(node), {"expiry": node.key_expiry}, {"expiry": expiry})
        return self._core.model.nodes[node.id]

    async def set_expiry(self, actor: Actor, name: str, life: timedelta | None) -> NodeRecord:
        """The node must log in again after `life`, None = never; one that has expired is let in again."""
        actor.require(Permission.NODES)
        if life is not None and life.total_seconds() <= 0:
            raise ServiceError("the login would be over already", mend="give a positive time, or use: nodes expire")
        async with self._core.change(actor) as draft:
            node = self.find(name)
            expiry = None if life is None else draft.now + life
            await draft.patch_node(node.id, key_expiry=expiry)
            await draft.audit("node.expiry", _target(node), {"expiry": node.key_expiry}, {"expiry": expiry})
        return self._core.model.nodes[node.id]

    async def set_address(self, actor: Actor, name: str, text: str) -> NodeRecord:
        """Another overlay address in the place of the one of its family. Raises `ServiceError`, `ConflictError`."""
        actor.require(Permission.NODES)
        try:
            address = ip_address(text)
        except ValueError:
            raise ServiceError(f'not an address: "{text}"', mend="write it as 100.64.0.9") from None
        field = "ipv4" if isinstance(address, IPv4Address) else "ipv6"
        good = pool_v4().holds(address) if isinstance(address, IPv4Address) else pool_v6().holds(address)
        if not good:
            mend = f"choose one inside {CGNAT_V4} or {ULA_V6} that is not reserved"
            raise ServiceError(f"{address} is no address of the overlay", mend=mend)
        async with self._core.change(actor) as draft:
            node = self.find(name)
            holder = next((one for one in self._core.model.nodes.values() if getattr(one, field) == address), None)
            if holder is not None and holder.id != node.id:
                raise ConflictError(f"{address} belongs to node {holder.given_name}", mend="choose another")
            await draft.patch_node(node.id, **{field: address})
            await draft.audit("node.address", _target(node), {field: getattr(node, field)}, {field: address})
        return self._core.model.nodes[node.id]

    async def delete(self, actor: Actor, name: str) -> NodeRecord:
        actor.require(Permission.NODES)
        async with self._core.change(actor) as draft:
            node = self.find(name)
            await draft.remove_node(node.id)
            await draft.audit("node.delete", _target(node), {"name": node.given_name, "ipv4": node.ipv4})
        return node

    async def tag(self, actor: Actor, name: str, tags: Sequence[str]) -> NodeRecord:
        """The tags own the node from then on: no user, no key expiry. The list may not be empty."""
        actor.require(Permission.NODES)
        if not tags:
            raise ServiceError("a node cannot be left without tags", mend="give at least one; or register it anew")
        check_tags(self._core, tags)
        async with self._core.change(actor) as draft:
            node = self.find(name)
            fields: dict[str, Any] = {"tags": tuple(sorted(set(tags))), "user_id": None, "key_expiry": None}
            fields["approved_routes"] = approvals(self._core, replace(node, **fields))
            await draft.patch_node(node.id, **fields)
            await draft.audit("node.tag", _target(node), {"tags": node.tags}, {"tags": fields["tags"]})
        return self._core.model.nodes[node.id]


def _target(node: NodeRecord) -> str:
    return f"node:{node.id}"


def approvals(core: Core, node: NodeRecord) -> tuple[Prefix, ...]:
    """Approved routes of the node with what autoApprovers add; they never take away."""
    granted = auto_approved(core.policy, node, core.owner_of(node), node.advertised_routes)
    missing = granted - set(node.approved_routes)
    if not missing:
        return node.approved_routes
    order = sorted(missing, key=lambda route: (route.version, int(route.network_address), route.prefixlen))
    return (*node.approved_routes, *order)
