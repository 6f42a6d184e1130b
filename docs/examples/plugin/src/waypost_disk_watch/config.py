"""Settings: table `[plugins.disk_watch]` of waypost.toml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from appliance.api import Bounds, SettingError, check_declared


@dataclass(frozen=True)
class DiskWatchConfig:
    folders: tuple[str, ...] = ("/",)
    """A folder of each disk to watch."""
    warn_below_percent: float = 10.0
    """Free space below which health says so."""
    interval_s: Annotated[float, Bounds(1, 86_400)] = 60.0
    """Seconds between two measurements."""

    def __post_init__(self) -> None:
        check_declared(self)
        for index, folder in enumerate(self.folders):
            if not folder.startswith("/"):
                raise SettingError(f"folders[{index}]", "must begin with /", mend="write the whole path")
        if not 0 < self.warn_below_percent < 100:
            raise SettingError("warn_below_percent", "must be between 0 and 100", mend="10 is a good value")
