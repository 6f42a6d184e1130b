"""Settings: table `[plugins.doctor]` of waypost.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from appliance.api import Bounds, check_declared
from plugins.doctor.errors import DoctorSettingError

MOST_MINUTES = 24 * 60
MAX_IGNORED = 32
_CHECK = re.compile(r"[a-z][a-z-]{0,31}")


@dataclass(frozen=True)
class DoctorConfig:
    interval_minutes: Annotated[int, Bounds(1, MOST_MINUTES)] = 15
    """Time between two examinations."""
    ignore: tuple[str, ...] = ()
    """Checks that are of no concern here; they are shown, but are no health items."""

    def __post_init__(self) -> None:
        check_declared(self)
        if len(self.ignore) > MAX_IGNORED:
            raise DoctorSettingError(
                "ignore", f"has more than {MAX_IGNORED} entries", mend="disable the plugin instead"
            )
        for index, name in enumerate(self.ignore):
            if not _CHECK.fullmatch(name):
                mend = "write a name as waypost doctor --all shows it, such as clock"
                raise DoctorSettingError(f"ignore[{index}]", f"{name[:64]!r} is no check", mend=mend)
