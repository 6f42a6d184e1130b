"""Settings: table `[plugins.exit_node]` of waypost.toml, and what `waypost exit` sets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from plugins.exit_node.errors import ExitSettingError

AUTO = "auto"
MAX_REGIONS = 64
_WANTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,252}")
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True)
class ExitNodeConfig:
    """`use` is kept without surrounding space and final dot."""

    advertise: bool = False
    """Offer this gateway as an exit."""
    use: str = ""
    """The exit to use: a peer's name, address or stable id; "auto": the best one, another when it goes; "": none."""
    regions: tuple[str, ...] = ()
    """With "auto": take exits whose home relay is in one of these regions only, by code."""
    lan_access: bool = False
    """While an exit is in use this gateway itself may begin connections to its attached networks."""
    site: bool = False
    """Hosts behind this gateway use the exit too."""

    def __post_init__(self) -> None:
        use = self.use.strip().rstrip(".")
        if use and not _WANTED.fullmatch(use):
            mend = "give a name, an address or a stable id as waypost exit list shows them, or auto"
            raise ExitSettingError("use", f"{self.use[:64]!r} names no peer", mend=mend)
        object.__setattr__(self, "use", use)
        if use and self.advertise:
            mend = "set advertise = false, or use no exit here: waypost exit off"
            raise ExitSettingError("use", "this gateway offers itself as an exit, so it cannot use one", mend=mend)
        if self.site and not use:
            mend = "name the exit: waypost exit use NAME --site"
            raise ExitSettingError("site", "hosts behind this gateway cannot use an exit that is not set", mend=mend)
        if len(self.regions) > MAX_REGIONS:
            raise ExitSettingError("regions", f"has more than {MAX_REGIONS} entries", mend="name fewer regions")
        for index, region in enumerate(self.regions):
            if not _REGION.fullmatch(region):
                mend = "write a code as waypost netcheck shows it"
                raise ExitSettingError(f"regions[{index}]", f"{region[:64]!r} is no region", mend=mend)
