"""Pure health checks: the relay in, items out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from appliance.api import HealthItem
from appliance.types.errors import Severity

if TYPE_CHECKING:
    from plugins.peer_relay.relay import Relay


def health_items(relay: Relay) -> tuple[HealthItem, ...]:
    return tuple(_items(relay))


def _items(relay: Relay) -> Iterator[HealthItem]:
    if relay.forbidden:
        text = "the control server does not let this node relay for others"
        yield HealthItem("relay-forbidden", text, "run: waypost plugins disable peer_relay", Severity.LOW)
    elif relay.ports and not relay.addresses:
        text = "the relay knows no address at which others reach it"
        yield HealthItem("relay-unreachable", text, "set static_endpoints of the plugin peer_relay")
    if len(relay.server) >= relay.config.max_sessions:
        text = f"the relay has all of its {relay.config.max_sessions} sessions in use; further pairs get none"
        yield HealthItem("relay-full", text, "raise max_sessions of the plugin peer_relay, or add another relay")
