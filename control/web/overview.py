"""What the status page shows: the service's own answers, bounded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from control.service.page_access import PAGE_READER
from control.service.present import node_json, pending_json

if TYPE_CHECKING:
    from appliance.types.netmap import DerpRegion
    from control.service.service import ControlService

MAX_NODES = 200
SOON = timedelta(days=7)
MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that wants a person. `mend` says what to do."""

    mark: str
    text: str
    mend: str


@dataclass(frozen=True, slots=True)
class Overview:
    """`nodes` are the first of `total`, those online first; `counters` by part."""

    url: str
    domain: str
    nodes: tuple[dict[str, Any], ...]
    total: int
    online: int
    users: int
    regions: tuple[DerpRegion, ...]
    troubles: tuple[Trouble, ...]
    counters: dict[str, dict[str, int]]
    at: datetime


def overview(service: ControlService) -> Overview:
    """Costs a look at every node, and the presentation of the first ones."""
    view, now = service.view(), service.wall_now()
    nodes = sorted(service.nodes.list(PAGE_READER), key=lambda node: (not view.is_online(node.id), node.given_name))
    return Overview(
        url=service.page.url.removesuffix("/status"),
        domain=view.domain,
        nodes=tuple(_with_moments(node_json(node, view, now)) for node in nodes[:MAX_NODES]),
        total=len(nodes),
        online=sum(view.is_online(node.id) for node in nodes),
        users=len(view.users),
        regions=tuple(view.derp_map),
        troubles=troubles(service, now),
        counters={part: known for part, counts in service.counters.snapshot().items() if (known := _known(counts))},
        at=now.astimezone(UTC),
    )


def troubles(service: ControlService, now: datetime) -> tuple[Trouble, ...]:
    found = []
    waiting = [pending_json(login) for login in service.logins.list(PAGE_READER)]
    if waiting:
        text = f"Devices wait to be let in: {_named([login['hostname'] or login['id'] for login in waiting])}"
        found.append(Trouble("info", text, "Decide: waypost-control nodes pending"))
    nodes = service.nodes.list(PAGE_READER)
    expired = [node.given_name for node in nodes if node.is_expired(now)]
    if expired:
        found.append(
            Trouble("warn", f"Keys have expired: {_named(expired)}", "Log in again there, or delete the node.")
        )
    soon = [n.given_name for n in nodes if n.key_expiry is not None and now < n.key_expiry <= now + SOON]
    if soon:
        found.append(Trouble("info", f"Keys expire within a week: {_named(soon)}", "Log in again there in time."))
    unapproved = [n.given_name for n in nodes if set(n.advertised_routes) - set(n.approved_routes)]
    if unapproved:
        text = f"Routes wait for approval: {_named(unapproved)}"
        found.append(Trouble("info", text, "Look at them: waypost-control routes list"))
    if not tuple(service.view().derp_map):
        text = "There is no relay: nodes that cannot reach each other directly stay apart"
        found.append(Trouble("bad", text, "Give one with --derp-host."))
    return tuple(found)


def _with_moments(node: dict[str, Any]) -> dict[str, Any]:
    seen = node["last_seen"]
    return {**node, "last_seen": datetime.fromisoformat(seen) if seen else None}


def _known(counts: dict[str, int]) -> dict[str, int]:
    """Counters that have counted."""
    return {name.replace("_", " "): count for name, count in counts.items() if count}


def _named(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
