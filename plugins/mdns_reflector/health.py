"""Pure: what is wrong with the reflector."""

from __future__ import annotations

from appliance.api import HealthItem
from appliance.types.errors import Severity
from plugins.mdns_reflector.state import ReflectorState


def health_items(state: ReflectorState) -> tuple[HealthItem, ...]:
    items: list[HealthItem] = []
    if not state.is_wanted:
        empty = [name for name in ("interfaces", "sites", "services") if not getattr(state.config, name)]
        text = f"the reflector of multicast DNS has no {' and no '.join(empty)}"
        mend = f"waypost plugins config mdns_reflector '{empty[0]}=[…]', or disable the plugin"
        return (HealthItem("not-set", text, mend, Severity.LOW),)
    if state.problem:
        items.append(HealthItem("closed", state.problem, "correct it; it is tried again every few seconds"))
    if state.missing_sites and state.in_mesh:
        names = ", ".join(state.missing_sites)
        mend = "look at the names: waypost status; does the policy let this node see them?"
        items.append(HealthItem("no-site", f"no peer is called {names}", mend, Severity.LOW))
    return tuple(items)
