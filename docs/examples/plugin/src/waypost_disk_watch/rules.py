"""Pure: numbers in, verdicts out."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.api import HealthItem
from waypost_disk_watch.config import DiskWatchConfig


@dataclass(frozen=True)
class Disk:
    """`folder` stands for the disk that it is on. Sizes in bytes; `total_bytes` 0: it cannot be read."""

    folder: str
    free_bytes: int = 0
    total_bytes: int = 0

    @property
    def free_percent(self) -> float:
        return 100.0 * self.free_bytes / self.total_bytes if self.total_bytes else 0.0


@dataclass
class WatchState:
    config: DiskWatchConfig = field(default_factory=DiskWatchConfig)
    disks: tuple[Disk, ...] = ()


def is_low(state: WatchState, disk: Disk) -> bool:
    return disk.total_bytes > 0 and disk.free_percent < state.config.warn_below_percent


def health_items(state: WatchState) -> tuple[HealthItem, ...]:
    low = [disk.folder for disk in state.disks if is_low(state, disk)]
    lost = [disk.folder for disk in state.disks if not disk.total_bytes]
    items = []
    if low:
        mend = "delete what is not needed, or lower warn_below_percent"
        items.append(HealthItem("disk-low", f"little space is left on the disk of {', '.join(low)}", mend))
    if lost:
        mend = "correct 'folders' in [plugins.disk_watch]"
        items.append(HealthItem("folder-missing", f"cannot be read: {', '.join(lost)}", mend))
    return tuple(items)


def as_lines(state: WatchState) -> str:
    if not state.disks:
        return "nothing measured yet"
    return "\n".join(f"{disk.folder}: {disk.free_percent:.0f} % free" for disk in state.disks)
