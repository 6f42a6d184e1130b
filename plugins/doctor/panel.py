"""Pure: the plugin's state as a panel of the status page."""

from __future__ import annotations

from appliance.api import Panel, PanelRow
from appliance.types.findings import FAILED, WARNING
from plugins.doctor.rules import health_items, well
from plugins.doctor.state import DoctorState


def panel(state: DoctorState) -> Panel:
    """What needs a hand comes first."""
    wrong = [each for each in state.findings if each.state in (FAILED, WARNING)]
    rows = [PanelRow(each.check, each.text, each.mend, bad=each.state == FAILED) for each in wrong]
    return Panel("Doctor", health_items(state.findings, state.config.ignore), (*rows, _sum(state)))


def _sum(state: DoctorState) -> PanelRow:
    if not state.findings:
        return PanelRow("Looks", "none yet", "the first examination runs soon after the start")
    return PanelRow("Looks", f"{well(state.findings)} of {len(state.findings)} well", "anew at once: waypost doctor")
