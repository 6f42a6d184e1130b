"""Pure: hosts that are set and cannot be woken as things are."""

from __future__ import annotations

from appliance.api import HealthItem
from appliance.types.errors import Severity
from plugins.wake_on_lan.state import WakeState

SHOWN = 3
MEND = "correct `on` in plugins.wake_on_lan.hosts; see: ip address"


def health_items(state: WakeState) -> tuple[HealthItem, ...]:
    """Nothing before the first look at the networks."""
    there = state.interfaces
    placed = [state.hosts[name] for name in sorted(state.hosts) if state.hosts[name].interface]
    away = [each for each in placed if not each.via and there is not None and each.interface not in there]
    if not away:
        return ()
    named = ", ".join(f"{each.name} ({each.interface})" for each in away[:SHOWN])
    more = f" and {len(away) - SHOWN} more" if len(away) > SHOWN else ""
    text = f"no network is attached where hosts are to be woken: {named}{more}"
    return (HealthItem("wake-no-network", text, MEND, Severity.LOW),)
