"""Pure: the plugin's state as a panel of the status page."""

from __future__ import annotations

from appliance.api import Panel, PanelRow
from plugins.status_page.state import PageState


def panel(state: PageState) -> Panel:
    places = tuple(PanelRow("Open at", url) for url in state.urls)
    return Panel(
        title="Status page",
        rows=(
            *(places or (PanelRow("Open at", "nowhere", "it does not listen", bad=True),)),
            PanelRow("Signed in", str(state.sessions), f"{state.watchers} watching"),
            PanelRow("Wrong codes", str(state.wrong_codes), "since start"),
        ),
    )
