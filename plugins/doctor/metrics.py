"""Pure: the plugin's state as metrics."""

from __future__ import annotations

from appliance.api import Metric, MetricKind
from appliance.types.findings import STATES
from plugins.doctor.state import DoctorState


def metrics(state: DoctorState) -> tuple[Metric, ...]:
    counts = {name: sum(each.state == name for each in state.findings) for name in STATES}
    found = (
        Metric("waypost_doctor_findings", count, "Findings of the last examination.", labels={"state": name})
        for name, count in counts.items()
    )
    total = Metric("waypost_doctor_examinations_total", state.examinations, "Examinations.", MetricKind.COUNTER)
    return (*found, total)
