"""Pure: the plugin's state as a panel of the status page."""

from __future__ import annotations

from appliance.api import Panel, PanelForm, PanelRow
from waypost_disk_watch.rules import WatchState, health_items, is_low

FORMS = (PanelForm("What is watched", ("folders", "warn_below_percent", "interval_s")),)


def panel(state: WatchState) -> Panel:
    rows = tuple(
        PanelRow(disk.folder, f"{disk.free_percent:.0f} % free", bad=is_low(state, disk) or not disk.total_bytes)
        for disk in state.disks
    )
    return Panel("Disks", health=health_items(state), rows=rows, forms=FORMS)
