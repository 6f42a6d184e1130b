"""Pure: the plugin's state as a panel of the status page. A button wakes its host."""

from __future__ import annotations

from appliance.api import Panel, PanelAction, PanelForm, PanelRow
from plugins.wake_on_lan.health import health_items
from plugins.wake_on_lan.rules import Target
from plugins.wake_on_lan.state import Outcome, WakeState

SHOWN = 50
FORMS = (PanelForm("Hosts that can be woken", ("hosts", "learn")),)


def panel(state: WakeState) -> Panel:
    hosts = [state.hosts[name] for name in sorted(state.hosts)][:SHOWN]
    rows = tuple(_row(each, state.last.get(each.name)) for each in hosts)
    actions = tuple(PanelAction(f"Wake {each.name}", command=("wake", each.name)) for each in hosts)
    none = (PanelRow("Hosts", "none", "those that are set here have a button each"),)
    return Panel("Wake-on-LAN", health_items(state), rows or none, actions, FORMS)


def _row(target: Target, outcome: Outcome | None) -> PanelRow:
    place = f"{target.mac} at {target.via}" if target.via else target.mac
    if outcome is None:
        return PanelRow(target.name, place)
    at = f"{outcome.at:%Y-%m-%d %H:%M} UTC"
    if outcome.error:
        return PanelRow(target.name, place, f"{at}: {outcome.error}", bad=True)
    return PanelRow(target.name, place, f"{at}: called on {', '.join(outcome.sent)}")
