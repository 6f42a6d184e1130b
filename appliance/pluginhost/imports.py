"""Brings a plugin's code in. Whatever that code raises becomes `PluginRefused`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from appliance.api.values import API_VERSION
from appliance.pluginhost.errors import PluginRefused


def import_object(name: str, target: str) -> Any:
    """Import "module:Name" of a plugin. Raises `PluginRefused`."""
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:  # foreign code at import may raise anything
        text = f"{target} cannot be imported: {type(error).__name__}: {error}"
        raise PluginRefused(name, text, mend=f"reinstall it; it must fit plugin API {API_VERSION}") from error


def import_class(name: str, target: str) -> type:
    """The same for a class."""
    found = import_object(name, target)
    if not isinstance(found, type):
        raise PluginRefused(name, f"{target} is not a class")
    return found


def make_plugin(name: str, plugin_class: Any) -> object:
    """An instance. Raises `PluginRefused`."""
    try:
        return plugin_class()
    except (Exception, SystemExit) as error:  # foreign code
        raise PluginRefused(name, f"cannot be made: {type(error).__name__}: {error}") from error
