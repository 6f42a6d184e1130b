"""Which exit a gateway uses, switched from here: settings of its plugin `exit_node`, sent as a control-to-node request.

The gateway keeps them on trial, so that a switch which cuts somebody off goes back unless it is confirmed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.proto.control.trial import LEAST_CONFIRM_S, MOST_CONFIRM_S, SETTINGS_PATH
from control.service.actor import Permission
from control.service.errors import ConflictError, ServiceError

if TYPE_CHECKING:
    from control.service.actor import Actor
    from control.service.core import Core
    from control.service.nodes import NodeOperations
    from control.service.requests import NodeAnswer, NodeRequestOperations
    from control.state.records import NodeRecord

AUTO, OFF = "auto", "off"
PLUGIN = "exit_node"
ANSWER_S = 15.0
_NOTHING: dict[str, Any] = {
    "use": "",
    "site": False,
    "gateway_direct": False,
    "hosts": [],
    "not_hosts": [],
    "direct": [],
    "lan_access": False,
    "regions": [],
}


@dataclass(frozen=True, slots=True)
class ExitWish:
    """`use`: a node that is an exit, `auto` or `off`. None leaves the gateway's own setting."""

    use: str
    site: bool | None = None
    gateway_direct: bool | None = None
    lan_access: bool | None = None
    regions: tuple[str, ...] | None = None
    confirm_within_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ExitState:
    """What a gateway says of itself. `exit` None: it uses none. `offered`: it is an approved exit itself."""

    node: NodeRecord
    exit: NodeRecord | None
    offered: bool


class ExitOperations:
    """Raises `ServiceError`s."""

    def __init__(self, core: Core, nodes: NodeOperations, requests: NodeRequestOperations) -> None:
        self._core = core
        self._nodes = nodes
        self._requests = requests

    def show(self, actor: Actor, name: str) -> ExitState:
        """What the gateway told last."""
        actor.require(Permission.READ)
        return self._state(self._nodes.find(name))

    async def switch(self, actor: Actor, name: str, wish: ExitWish) -> ExitState:
        """Send the wish and have it written down. The state is the one before: the gateway tells when it has moved."""
        actor.require(Permission.NODES)
        node = self._nodes.find(name)
        settings = self._settings(node, wish)
        if not LEAST_CONFIRM_S <= wish.confirm_within_s <= MOST_CONFIRM_S:
            raise ServiceError(f"{wish.confirm_within_s:g} s is no time to confirm within", mend="give 5s to 1h")
        body = {"plugins": {PLUGIN: settings}, "confirm_within_s": wish.confirm_within_s}
        before = self._state(node)
        async with self._core.change(actor) as draft:
            used = None if before.exit is None else before.exit.given_name
            after = {**settings, "use": wish.use, "confirm_within_s": wish.confirm_within_s}
            await draft.audit("node.exit", f"node:{node.id}", {"use": used}, after)
        answer = await self._requests.c2n(
            actor, name, SETTINGS_PATH, method="PATCH", body=json.dumps(body).encode(), limit_s=ANSWER_S
        )
        _check(node, answer)
        return before

    def _settings(self, node: NodeRecord, wish: ExitWish) -> dict[str, Any]:
        if wish.use == OFF:
            return dict(_NOTHING)
        settings: dict[str, Any] = {"use": AUTO if wish.use == AUTO else self._exit(node, wish.use).stable_id}
        given = {name: getattr(wish, name) for name in ("site", "gateway_direct", "lan_access", "regions")}
        return settings | {name: value for name, value in given.items() if value is not None}

    def _exit(self, node: NodeRecord, name: str) -> NodeRecord:
        found = self._nodes.find(name)
        if found.id == node.id:
            raise ServiceError(f"{node.given_name} cannot be its own exit", mend="name another node, auto or off")
        if not found.exit_routes:
            mend = f"on it: waypost exit offer; here: waypost-control routes approve {found.given_name} exit"
            raise ConflictError(f"{found.given_name} is no approved exit", mend=mend)
        return found

    def _state(self, node: NodeRecord) -> ExitState:
        wanted = node.hostinfo.exit_node_id if node.hostinfo is not None else ""
        nodes = self._core.model.nodes.values()
        used = next((each for each in nodes if wanted and each.stable_id == wanted), None)
        return ExitState(node, used, bool(node.exit_routes))


def _check(node: NodeRecord, answer: NodeAnswer) -> None:
    if answer.status == 400 and "unknown c2n path" in answer.body:
        text = f"{node.given_name} takes no settings from control"
        raise ConflictError(text, mend="it is no Waypost gateway, or an older one: choose the exit there")
    if answer.status >= 400:
        raise ConflictError(f"{node.given_name} refuses: {answer.body.strip()[:500]}")
