"""What the plugin knows."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.api import Finding
from plugins.doctor.config import DoctorConfig


@dataclass(frozen=True, slots=True)
class DoctorState:
    """`findings` of the last examination; `examinations` counts them."""

    config: DoctorConfig = field(default_factory=DoctorConfig)
    findings: tuple[Finding, ...] = ()
    examinations: int = 0
