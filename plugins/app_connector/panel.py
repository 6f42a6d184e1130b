"""Pure: the plugin's state as a panel of the status page."""

from __future__ import annotations

from appliance.api import Panel, PanelAction, PanelForm, PanelRow
from plugins.app_connector.apps import App
from plugins.app_connector.health import health_items
from plugins.app_connector.state import ConnectorState

FORMS = (
    PanelForm("Own apps", ("advertise", "domains", "routes")),
    PanelForm("What is learned", ("max_addresses", "keep_hours", "ipv4_only")),
)


def panel(state: ConnectorState) -> Panel:
    on = state.config.advertise
    label = "Stop being an app connector" if on else "Be an app connector"
    rows = tuple(_app(state, app) for app in state.apps) if on else ()
    return Panel(
        title="App connector",
        health=health_items(state),
        rows=rows or (PanelRow("Apps", "none" if on else "off"),),
        actions=(PanelAction(label, {"advertise": not on}),),
        forms=FORMS,
    )


def _app(state: ConnectorState, app: App) -> PanelRow:
    learned = state.learned.get(app.name, 0)
    value = f"{learned} addresses learned" + (f", {len(app.routes)} preset" if app.routes else "")
    names = sorted((*app.domains, *(f"*.{each}" for each in app.wildcards)))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return PanelRow(app.name, value, ", ".join(names[:3]) + more)
