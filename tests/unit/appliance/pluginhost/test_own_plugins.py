"""The installed plugins are admitted by the real plugin host."""

from __future__ import annotations

import pytest

from appliance.pluginhost.admission import admit
from appliance.pluginhost.discovery import discover
from appliance.pluginhost.faults import FaultBook
from appliance.pluginhost.hooks import Hooks
from appliance.pluginhost.host import own_site
from plugins.peer_relay.hooks import PeerRelay
from plugins.subnet_router.hooks import SubnetRouter


@pytest.mark.parametrize(("name", "plugin"), [("subnet_router", SubnetRouter), ("peer_relay", PeerRelay)])
def test_ok__manifest_fits_the_class(name: str, plugin: type) -> None:
    found = discover()
    manifest = next(c.manifest for c in found.candidates if c.name == name)
    assert admit([manifest], own_site(found)).order == (name,)
    hooks = Hooks(FaultBook(None))  # type: ignore[arg-type]  # nothing is reported here
    hooks.register(name, plugin(), None, manifest.hooks)  # type: ignore[arg-type]  # not called
    assert hooks.registered == (name,)
