"""Pure: the plugin's state as metrics."""

from __future__ import annotations

from appliance.api import Metric
from waypost_disk_watch.rules import WatchState


def metrics(state: WatchState) -> tuple[Metric, ...]:
    return tuple(
        Metric("waypost_disk_free_bytes", disk.free_bytes, "Free bytes of a disk", labels={"folder": disk.folder})
        for disk in state.disks
    )
