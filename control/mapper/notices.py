"""What clients show to people: notices of the operator, what hinders the node itself, a newer version
(control-protocol spec section 10)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from appliance.proto.control import messages as wire
from control.mapper.settings import Notice

if TYPE_CHECKING:
    from control.mapper.settings import ClientRelease, MapSettings
    from control.state.records import NodeRecord

FIRST_DISPLAY_MESSAGES_VERSION = 117
ROUTES_WAIT = "routes-wait-for-approval"
_GATEWAY_MARK = "-waypost"
_SHOWN_ROUTES = 5
_NUMBERS = re.compile(r"\d{1,6}(\.\d{1,6}){0,3}")


def notices_for(record: NodeRecord, settings: MapSettings) -> dict[str, Notice]:
    """What the node's client shows now, by id."""
    shown = {notice.id: notice for notice in settings.notices}
    waiting = [str(route) for route in record.advertised_routes if route not in record.approved_routes]
    if waiting:
        more = f" and {len(waiting) - _SHOWN_ROUTES} more" if len(waiting) > _SHOWN_ROUTES else ""
        text = f"An administrator has not approved {', '.join(waiting[:_SHOWN_ROUTES])}{more}; peers do not use it."
        shown[ROUTES_WAIT] = Notice(ROUTES_WAIT, "Routes wait for approval", text)
    return shown


def add_notices(response: wire.MapResponse, version: int, told: dict[str, Notice], now: dict[str, Notice]) -> None:
    """The difference as display messages; older clients get the whole list as plain health texts."""
    if told == now:
        return
    if version < FIRST_DISPLAY_MESSAGES_VERSION:
        response.health = [f"{notice.title}: {notice.text}" for _, notice in sorted(now.items())]
        return
    news = {name: _message(notice) for name, notice in sorted(now.items()) if told.get(name) != notice}
    response.display_messages = {**dict.fromkeys(sorted(told.keys() - now.keys())), **news}


def _message(notice: Notice) -> wire.DisplayMessage:
    action = wire.DisplayMessageAction(url=notice.url, label=notice.label or "Read more") if notice.url else None
    return wire.DisplayMessage(title=notice.title, text=notice.text, severity=notice.severity, primary_action=action)


def client_version(record: NodeRecord, settings: MapSettings) -> wire.ClientVersion | None:
    """The note on a newer version for the kind of client that this node runs; None = nothing to say."""
    running = record.hostinfo.ipn_version if record.hostinfo is not None else ""
    release = settings.gateways if _GATEWAY_MARK in running else settings.stock
    latest, found = _numbers(release.latest), _numbers(running)
    if not latest or not found:
        return None
    if found >= latest:
        return wire.ClientVersion(running_latest=True)
    return _note(release)


def _note(release: ClientRelease) -> wire.ClientVersion:
    return wire.ClientVersion(
        latest_version=release.latest,
        urgent_security_update=release.urgent,
        notify=bool(release.notify_text or release.notify_url),
        notify_url=release.notify_url,
        notify_text=release.notify_text,
    )


def _numbers(version: str) -> tuple[int, ...]:
    """1.98.2-t1a2b as (1, 98, 2); () for anything else."""
    found = _NUMBERS.match(version)
    return tuple(int(part) for part in found[0].split(".")) if found is not None else ()
