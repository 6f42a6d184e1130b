"""The installed plugin is admitted by the real plugin host."""

from __future__ import annotations

from appliance.pluginhost.admission import admit
from appliance.pluginhost.discovery import discover
from appliance.pluginhost.faults import FaultBook
from appliance.pluginhost.hooks import Hooks
from appliance.pluginhost.host import own_site
from plugins.subnet_router.hooks import SubnetRouter


def test_ok__manifest_fits_the_class() -> None:
    found = discover()
    manifest = next(c.manifest for c in found.candidates if c.name == "subnet_router")
    assert admit([manifest], own_site(found)).order == ("subnet_router",)
    hooks = Hooks(FaultBook(None))  # type: ignore[arg-type]  # nothing is reported here
    hooks.register("subnet_router", SubnetRouter(), None, manifest.hooks)  # type: ignore[arg-type]  # not called
    assert hooks.registered == ("subnet_router",)
