"""Posture attributes that are set, not told by the node itself: `custom:…`, with an end if wished
(policy spec 1.9, 7.2).

Postures of the policy look at them. Where `attrConfig` knows an attribute its type holds; with `allowSetByNode` the
node may set it too. `ip:country` is where a node's map streams come from, if the server has a country file.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from control.service.actor import SYSTEM, Permission, node_actor
from control.service.errors import DeniedError, NotFoundError, ServiceError
from control.state.records import CustomAttribute

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from control.policy.postures import AttributeValue
    from control.service.actor import Actor
    from control.service.core import Core, Draft
    from control.service.countries import Countries
    from control.service.nodes import NodeOperations
    from control.state.records import NodeRecord

MAX_LETTERS = 50
"""Of a name with its `custom:`, and of a text value."""
MAX_ATTRIBUTES = 64
EXPIRY_CHECK_S = 5.0
COUNTRY = "ip:country"
_NAME = re.compile(r"custom:[A-Za-z0-9_.-]+")
_KINDS: dict[str, tuple[type, ...]] = {"string": (str,), "bool": (bool,), "number": (int, float)}


class AttributeOperations:
    """`countries` None: nothing is known of where nodes are."""

    def __init__(self, core: Core, nodes: NodeOperations, countries: Countries | None = None) -> None:
        self._core = core
        self._nodes = nodes
        self.countries = countries
        self._checked = -math.inf

    async def set(
        self, actor: Actor, name: str, values: Mapping[str, AttributeValue], *, life: timedelta | None = None
    ) -> NodeRecord:
        """Set some, leave the others as they are; after `life` they are gone. Raises `ServiceError`."""
        actor.require(Permission.NODES)
        if not values:
            raise ServiceError("no attribute is given", mend='write custom:tier="prod"')
        if life is not None and life.total_seconds() <= 0:
            raise ServiceError("the attributes would be gone already", mend="give a positive time, as 12h or 30d")
        async with self._core.change(actor) as draft:
            node = self._nodes.find(name)
            expiry = None if life is None else draft.now + life
            await self._put(
                draft, node, {key: self._checked_value(key, value) for key, value in values.items()}, expiry
            )
        return self._core.model.nodes[node.id]

    async def remove(self, actor: Actor, name: str, attributes: Sequence[str]) -> NodeRecord:
        """Raises `NotFoundError` for one that is not set."""
        actor.require(Permission.NODES)
        async with self._core.change(actor) as draft:
            node = self._nodes.find(name)
            known = {one.name for one in node.custom_attributes}
            missing = [one for one in attributes if one not in known]
            if missing or not attributes:
                shown = ", ".join(sorted(known)) or "none"
                text = f"{node.given_name} has no attribute {', '.join(missing) or 'to remove'}"
                raise NotFoundError(text, mend=f"set are: {shown}")
            await self._put(draft, node, dict.fromkeys(attributes), None)
        return self._core.model.nodes[node.id]

    async def set_by_node(self, node: NodeRecord, update: Mapping[str, AttributeValue | None]) -> None:
        """What the node says of itself, None takes it back; only what the policy leaves to nodes."""
        for name in update:
            if name not in self._core.policy.node_settable:
                mend = "allow it with attrConfig and allowSetByNode of the policy"
                raise DeniedError(f"nodes may not set {name[:MAX_LETTERS]!r} here", mend=mend)
        async with self._core.change(node_actor(node)) as draft:
            current = self._core.model.nodes.get(node.id)
            if current is not None:
                values = {key: None if one is None else self._checked_value(key, one) for key, one in update.items()}
                await self._put(draft, current, values, None)

    async def seen_at(self, node: NodeRecord, address: str) -> None:
        """A map stream of the node comes from this address. An unknown country takes the attribute away."""
        if self.countries is None:
            return
        country = self.countries.country(address)
        if country == node.attributes.get(COUNTRY):
            return
        async with self._core.change(SYSTEM) as draft:
            current = self._core.model.nodes.get(node.id)
            if current is not None:
                await self._put(draft, current, {COUNTRY: country}, None)

    def _checked_value(self, name: str, value: AttributeValue) -> AttributeValue:
        if not _NAME.fullmatch(name) or len(name) > MAX_LETTERS:
            mend = f"write custom:name with letters, digits, _ . and -, at most {MAX_LETTERS} in all"
            raise ServiceError(f"not the name of a custom attribute: {name[: 2 * MAX_LETTERS]!r}", mend=mend)
        if isinstance(value, str) and len(value) > MAX_LETTERS:
            raise ServiceError(f"{name} is longer than {MAX_LETTERS} letters", mend="write less")
        if isinstance(value, float) and not math.isfinite(value):
            raise ServiceError(f"{name} is not a number that can be kept", mend="write a finite number")
        kind = self._core.policy.attribute_types.get(name)
        if kind is not None and (not isinstance(value, _KINDS[kind]) or (kind == "number" and isinstance(value, bool))):
            raise ServiceError(f"{name} must be a {kind}", mend="attrConfig of the policy says so")
        return value

    async def _put(
        self, draft: Draft, node: NodeRecord, values: Mapping[str, AttributeValue | None], expiry: datetime | None
    ) -> None:
        kept = [one for one in node.custom_attributes if one.name not in values]
        added = [CustomAttribute(name, value, expiry) for name, value in values.items() if value is not None]
        after = tuple(sorted((*kept, *added), key=lambda one: one.name))
        if sum(one.name != COUNTRY for one in after) > MAX_ATTRIBUTES:
            raise ServiceError(
                f"{node.given_name} would have more than {MAX_ATTRIBUTES} attributes", mend="remove some"
            )
        if after != node.custom_attributes:
            await draft.patch_node(node.id, custom_attributes=after)
            await draft.audit("node.attributes", f"node:{node.id}", _shown(node.custom_attributes), _shown(after))

    async def sweep(self) -> None:
        """Take away what expired; called about once a second."""
        now = self._core.clock.now()
        if now - self._checked < EXPIRY_CHECK_S:
            return
        self._checked = now
        wall_now = self._core.clock.wall_now()
        due = [
            node.id for node in self._core.model.nodes.values() if node.custom_attributes and _expired(node, wall_now)
        ]
        for node_id in due:
            async with self._core.change(SYSTEM) as draft:
                node = self._core.model.nodes.get(node_id)
                if node is not None:
                    await self._put(draft, node, dict.fromkeys(_expired(node, draft.now)), None)


def _expired(node: NodeRecord, wall_now: datetime) -> tuple[str, ...]:
    return tuple(one.name for one in node.custom_attributes if one.expiry is not None and one.expiry <= wall_now)


def _shown(attributes: Sequence[CustomAttribute]) -> dict[str, AttributeValue]:
    return {one.name: one.value for one in attributes}
