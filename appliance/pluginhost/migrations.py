"""Brings a plugin's table from an older version of its settings to the present one, as its manifest says. Pure.

Steps are data, so that no code of the plugin is needed. Each changes what is old and leaves what is new: a table
without `config_version` counts as version 1 and passes all steps unharmed when it is newer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.types.errors import ConfigError

VERSION_KEY = "config_version"


@dataclass(frozen=True, slots=True)
class Migration:
    """One step, to version `to`. First values are replaced (key: old value as text: new value), then keys renamed,
    then keys dropped. A renamed key gives way where the new one is set already.
    """

    to: int
    rename: dict[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    replace: dict[str, dict[str, Any]] = field(default_factory=dict)


def problem_of(steps: Sequence[Migration], version: int) -> str:
    """Why steps and version do not fit, "" when they do."""
    if version < 1:
        return f"'plugin.{VERSION_KEY}' starts at 1"
    if [step.to for step in steps] != list(range(2, version + 1)):
        return f"'plugin.migrations' must lead to each version from 2 to {version}, in order"
    return ""


def migrate(name: str, table: Mapping[str, Any], steps: Sequence[Migration], version: int) -> dict[str, Any]:
    """The table in the present version, without its version key. Raises `ConfigError`."""
    path = f"plugins.{name}.{VERSION_KEY}"
    given = table.get(VERSION_KEY, 1)
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise ConfigError(f"{path} must be a whole number from 1 on", mend="leave it out where you are not sure")
    if given > version:
        text = f"{path} is {given}, this release of the plugin knows {version}"
        raise ConfigError(text, mend="update the plugin, or write its table anew")
    migrated = {key: value for key, value in table.items() if key != VERSION_KEY}
    for step in steps:
        if step.to > given:
            _apply(step, migrated)
    return migrated


def _apply(step: Migration, table: dict[str, Any]) -> None:
    for key, values in step.replace.items():
        old = table.get(key)
        if isinstance(old, str | int | float) and _as_text(old) in values:
            table[key] = values[_as_text(old)]
    for key, new in step.rename.items():
        if key in table:
            table.setdefault(new, table[key])
            del table[key]
    for key in step.drop:
        table.pop(key, None)


def _as_text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
