"""Why a plugin is not loaded or not trusted any more."""

from __future__ import annotations

from appliance.types.errors import ApplianceError, Severity


class PluginError(ApplianceError):
    """`plugin` is the plugin's name."""

    code = "plugin"

    def __init__(self, plugin: str, text: str, *, mend: str = "", code: str | None = None) -> None:
        super().__init__(f"plugin {plugin}: {text}", mend=mend, code=code)
        self.plugin = plugin


class ManifestError(PluginError):
    """The manifest is missing or wrong."""

    code = "plugin-manifest"


class PluginRefused(PluginError):
    """The plugin may not run here: version, placement, features, conflict with another."""

    code = "plugin-refused"


class PluginStalled(PluginError):
    """A hook did not come back in time."""

    code = "plugin-stalled"
    severity = Severity.HIGH


class BadHookResult(PluginError):
    """A hook returned something that its spec does not allow."""

    code = "plugin-result"
