"""Settings: table `[plugins.subnet_router]` of waypost.toml, and the preferences of `waypost set`."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.api import SettingError
from plugins.subnet_router.rules import normalise_routes

MAX_ROUTES = 1000


@dataclass(frozen=True)
class SubnetRouterConfig:
    """`advertise_routes` are kept masked, sorted and without repetition, as they go to control."""

    advertise_routes: tuple[str, ...] = ()
    """Prefixes that this gateway offers to the mesh."""
    accept_routes: bool = False
    """Install the prefixes that peers offer."""
    snat: bool = True
    """Let mesh traffic enter the own networks with the gateway's own address; off for site-to-site."""

    def __post_init__(self) -> None:
        if len(self.advertise_routes) > MAX_ROUTES:
            raise SettingError("advertise_routes", f"has more than {MAX_ROUTES} entries", mend="join prefixes")
        object.__setattr__(self, "advertise_routes", normalise_routes(self.advertise_routes))
