"""Pure: the plugin's state as a panel of the status page."""

from __future__ import annotations

from appliance.api import Panel, PanelForm, PanelRow
from plugins.mdns_reflector.health import health_items
from plugins.mdns_reflector.state import ReflectorState

FORMS = (PanelForm("Reflect services between sites", ("interfaces", "sites", "services", "port")),)


def panel(state: ReflectorState) -> Panel:
    counters = state.reflector.counters
    sites = ", ".join(sorted(set(state.site_of.values()))) or "none"
    rows = (
        PanelRow("LANs", ", ".join(state.open_lans) or "none", bad=state.is_wanted and not state.open_lans),
        PanelRow("Sites", sites, f"at {state.listening}" if state.listening else "", bad=bool(state.missing_sites)),
        PanelRow("Services", ", ".join(state.config.services) or "none", f"{len(state.reflector.seen)} seen elsewhere"),
        PanelRow("Datagrams", f"{counters['out_sent']} to sites, {counters['in_sent']} to LANs"),
    )
    return Panel("Services of other sites (mDNS)", health_items(state), rows, forms=FORMS)
