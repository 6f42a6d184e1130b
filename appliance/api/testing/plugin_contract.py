"""`PluginContract`: a test class to inherit; pytest makes one contract test per hook of the plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from appliance.api.hookspecs import HOOK_PREFIX
from appliance.api.testing.contracts import HOOK_CONTRACTS, check_forms
from appliance.api.testing.fake_host import FakeHost
from appliance.api.values import HostFacts, NetmapChange, NodeInfo, RelayRequest

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "appliance_netmap_changed": {"change": NetmapChange(True, NodeInfo("n1", "gateway"), (NodeInfo("n2", "peer"),))},
    "appliance_accept_routes": {"offered": (), "attached": ()},
    "appliance_check_health": {"facts": HostFacts()},
    "appliance_relay_request": {
        "request": RelayRequest("n2", ("discokey:" + "51" * 32, "discokey:" + "52" * 32)),
    },
}


class PluginContract:
    """Set the class attributes in a subclass whose name begins with `Test`.

    `config` is an instance of the plugin's configuration class. `arguments` adds to, or replaces, the arguments with
    which a hook is tried: `{"appliance_run_command": {"command": "show"}}`.
    """

    plugin_class: ClassVar[type]
    config: ClassVar[Any]
    arguments: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def pytest_generate_tests(self, metafunc: Any) -> None:
        if "contract_hook" in metafunc.fixturenames:
            cls = metafunc.cls.plugin_class
            metafunc.parametrize("contract_hook", [name for name in HOOK_CONTRACTS if hasattr(cls, name)])

    def test_ok__hook_keeps_its_contract(self, contract_hook: str, fake_host: FakeHost) -> None:
        plugin = self.plugin_class()
        if contract_hook != "appliance_configure" and hasattr(plugin, "appliance_configure"):
            HOOK_CONTRACTS["appliance_configure"](plugin, fake_host, config=self.config)
        given = {**DEFAULTS.get(contract_hook, {}), **self.arguments.get(contract_hook, {})}
        if contract_hook == "appliance_configure":
            given = {"config": self.config, **given}
        result = HOOK_CONTRACTS[contract_hook](plugin, fake_host, **given)
        if contract_hook == "appliance_status_panel":
            check_forms(result, self.config)

    def test_ok__every_hook_is_known(self) -> None:
        ours = {name for name in dir(self.plugin_class) if name.startswith(HOOK_PREFIX)}
        assert ours <= set(HOOK_CONTRACTS), f"not hooks of this release: {sorted(ours - set(HOOK_CONTRACTS))}"
