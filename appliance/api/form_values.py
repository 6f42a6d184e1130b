"""Value types of forms: a plugin's settings as inputs of the status page. Part of `appliance.api.values`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FieldKind(StrEnum):
    """What a setting holds, and so how people write it."""

    FLAG = "flag"
    NUMBER = "number"
    DECIMAL = "decimal"
    TEXT = "text"
    CHOICE = "choice"
    LIST = "list"
    """Texts."""
    TABLE = "table"
    """Names to a text each."""
    LISTS = "lists"
    """Names to a list of texts each."""


@dataclass(frozen=True, slots=True)
class SettingField:
    """One setting as it holds now. `key` is relative to the plugin's table, "location.city" in a nested one.

    `value` has the plain type that `kind` says. A `secret` comes without its value; `is_set` says whether there is one.
    """

    key: str
    kind: FieldKind
    help: str = ""
    value: Any = None
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False
    is_set: bool = False


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """Why a setting was refused. `key` as in `SettingError`, "" where it is about no single one."""

    key: str
    text: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class PanelForm:
    """A form that a panel offers: those of the plugin's settings that people change together.

    `keys` are of its configuration class; the inputs are made from there. Without keys: all.
    """

    label: str
    keys: tuple[str, ...] = ()
