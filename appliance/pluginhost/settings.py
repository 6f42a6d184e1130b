"""Turns a plugin's table of waypost.toml into its configuration class, with key paths in errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import msgspec

from appliance.api.settings import SettingError
from appliance.types.errors import ConfigError

ENABLED = "enabled"
"""The one key of each table that belongs to the core."""


def is_enabled(name: str, table: Mapping[str, Any], default: bool) -> bool:
    """Whether the plugin's table asks for it. Raises `ConfigError`."""
    value = table.get(ENABLED, default)
    if not isinstance(value, bool):
        raise ConfigError(f"plugins.{name}.{ENABLED} must be true or false", mend="write it without quotes")
    return value


def own_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table without the core's key."""
    return {key: value for key, value in table.items() if key != ENABLED}


def parse_settings(name: str, config_class: type, table: Mapping[str, Any]) -> Any:
    """An instance of the plugin's class. Raises `ConfigError` that names the key path."""
    path = f"plugins.{name}"
    known = [each.name for each in fields(config_class)] if is_dataclass(config_class) else []
    for key in own_table(table):
        if key not in known:
            choices = ", ".join(known) or "none"
            raise ConfigError(
                f"{path}.{key} is not a setting of this plugin",
                mend=f"its settings are: {choices}",
                key=f"{path}.{key}",
            )
    try:
        return msgspec.convert(own_table(table), config_class)
    except msgspec.ValidationError as error:
        cause = error.__cause__
        if isinstance(cause, SettingError):
            raise ConfigError(f"{path}.{cause.key}: {cause.text}", mend=cause.mend, key=f"{path}.{cause.key}") from None
        raise _wrong_type(path, str(error)) from None


def plain_settings(config: Any) -> dict[str, Any]:
    """All settings of an instance as plain values. A converted instance holds its defaults in the class only."""
    names = [each.name for each in fields(config)] if is_dataclass(config) else []
    plain: dict[str, Any] = msgspec.to_builtins({name: getattr(config, name) for name in names}, str_keys=True)
    return plain


def _wrong_type(path: str, text: str) -> ConfigError:
    """ "Expected `bool`, got `str` - at `$.snat`" becomes "plugins.x.snat: expected bool, got str"."""
    message, _, place = text.rpartition(" - at `$")
    if not message:
        return ConfigError(f"{path}: {text}")
    message, key = message.replace("`", ""), path + place.rstrip("`")
    return ConfigError(f"{key}: {message[:1].lower()}{message[1:]}", key=key)
