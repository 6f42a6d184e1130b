"""How a plugin's configuration class describes itself and reports a wrong value.

A configuration class is a frozen dataclass whose fields have defaults and plain types. What else is known of a field
stands in its annotation, `Annotated[int, Bounds(1, 65535)]`; the string below it is its help. It checks itself in
`__post_init__` and raises `SettingError`; the core puts the plugin's key path in front.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from appliance.api.form_values import FieldKind, SettingField


class SettingError(ValueError):
    """`key` is relative to the plugin's table: "advertise_routes[2]"."""

    def __init__(self, key: str, text: str, *, mend: str = "") -> None:
        super().__init__(f"{key}: {text}")
        self.key = key
        self.text = text
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Bounds:
    """A number lies between these, both included."""

    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Choices:
    """A text is one of these."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that is never shown again."""


_KINDS: Mapping[Any, FieldKind] = {
    bool: FieldKind.FLAG,
    int: FieldKind.NUMBER,
    float: FieldKind.DECIMAL,
    str: FieldKind.TEXT,
    tuple[str, ...]: FieldKind.LIST,
    list[str]: FieldKind.LIST,
    dict[str, str]: FieldKind.TABLE,
    dict[str, tuple[str, ...]]: FieldKind.LISTS,
}


def check_declared(config: Any) -> None:
    """Hold a configuration to the bounds and choices in its annotations. Raises `SettingError`."""
    for field in setting_fields(config):
        if field.least is not None and field.most is not None and not field.least <= field.value <= field.most:
            mend = f"give a number from {field.least:g} to {field.most:g}"
            raise SettingError(field.key, f"is {field.value}", mend=mend)
        if field.choices and field.value not in field.choices:
            mend = f"write one of {', '.join(field.choices)}"
            raise SettingError(field.key, f"is {field.value[:64]!r}", mend=mend)


def setting_fields(config: Any, *, helped: bool = False) -> tuple[SettingField, ...]:
    """The settings of an instance, in the order of its class; with their help where `helped`.

    Settings of other types than those that a form can hold are left out.
    """
    return tuple(_fields(config, "", helped=helped)) if is_dataclass(config) else ()


def _fields(config: Any, above: str, *, helped: bool) -> Iterator[SettingField]:
    config_class: type = type(config)
    annotations = _annotations(config_class)
    helps = help_texts(config_class) if helped else {}
    for name in (each.name for each in fields(config)):
        kind, notes = annotations[name]
        value = getattr(config, name)
        if kind in _KINDS:
            yield _field(above + name, _KINDS[kind], notes, value, helps.get(name, ""))
        elif is_dataclass(kind) and not above:
            nested = tuple(_fields(value, f"{name}.", helped=helped))
            if len(nested) == len(fields(value)) and not any(each.secret for each in nested):  # it is set as a whole
                yield from nested


def _field(key: str, kind: FieldKind, notes: tuple[Any, ...], value: Any, help_text: str) -> SettingField:
    bounds = next((each for each in notes if isinstance(each, Bounds)), None)
    choices = next((each.texts for each in notes if isinstance(each, Choices)), ())
    secret = any(isinstance(each, Secret) for each in notes)
    return SettingField(
        key,
        FieldKind.CHOICE if choices else kind,
        help_text,
        None if secret else _plain(value),
        bounds.least if bounds is not None else None,
        bounds.most if bounds is not None else None,
        choices,
        secret,
        secret and bool(value),
    )


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return list(value) if isinstance(value, tuple) else value


@cache
def _annotations(config_class: type) -> Mapping[str, tuple[Any, tuple[Any, ...]]]:
    """Type and notes of each field."""
    found = {}
    for name, hint in get_type_hints(config_class, include_extras=True).items():
        is_noted = get_origin(hint) is Annotated
        found[name] = (get_args(hint)[0], get_args(hint)[1:]) if is_noted else (hint, ())
    return found


@cache
def help_texts(config_class: type) -> Mapping[str, str]:
    """The strings below a class's fields, which the interpreter drops; none where there is no source."""
    try:
        body = ast.parse(dedent(inspect.getsource(config_class))).body
    except (OSError, TypeError, SyntaxError):
        return {}
    found = {}
    for one, after in pairwise(body[0].body if isinstance(body[0], ast.ClassDef) else ()):
        match one, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.replace("`", "").split())
            case _:
                continue
    return found
