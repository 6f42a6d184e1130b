"""Which optional measurements of paths are made: the configuration says, or control by node attributes (spec 3.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.config.schema import PathsSection
    from appliance.magicsock.service import MagicsockService
    from appliance.types.netmap import Node

SIZES = "peer-mtu-enable"
LIFETIMES = "probe-udp-lifetime"


class ProbeDesk:
    def __init__(self, magicsock: MagicsockService, section: PathsSection) -> None:
        self._magicsock = magicsock
        self._section = section
        self.apply(None)

    def apply(self, own: Node | None) -> None:
        """Our node as control tells it, None off the mesh."""
        self._magicsock.set_probes(
            sizes=_wanted(self._section.path_mtu, SIZES, own),
            lifetimes=_wanted(self._section.idle_paths, LIFETIMES, own),
        )


def _wanted(setting: str, attribute: str, own: Node | None) -> bool:
    if setting == "auto":
        return own is not None and attribute in own.cap_map
    return setting == "on"
