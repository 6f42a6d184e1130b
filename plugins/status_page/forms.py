"""Pure: settings as text that people type, and back. One line is one entry; where names are needed, "name = value"."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from appliance.api import FieldKind, JsonValue, PanelForm, PluginPanel, SettingField, SettingProblem
from plugins.status_page.errors import TypedError

PLUGIN, FORM, SEEN, RESET = ":plugin", ":form", ":seen", ":reset"
"""Inputs of the form itself. No setting's name begins with a colon."""
FORGET = ":forget:"
"""Before a secret's key: it is to be dropped."""
MANY_LINES = frozenset({FieldKind.LIST, FieldKind.TABLE, FieldKind.LISTS})
HINTS: Mapping[FieldKind, str] = {
    FieldKind.LIST: "One entry on each line.",
    FieldKind.TABLE: "On each line: name = value.",
    FieldKind.LISTS: "On each line: name = one, two.",
}


@dataclass(frozen=True, slots=True)
class Input:
    """A setting as the page shows it: `text` is what is in force, or what was typed."""

    field: SettingField
    text: str
    problems: tuple[SettingProblem, ...] = ()

    @property
    def id(self) -> str:
        """Unique on the page."""
        return f"setting-{self.field.key}"

    @property
    def hint(self) -> str:
        """How to write it, beside what it means."""
        if self.field.least is not None and self.field.most is not None:
            return f"From {self.field.least:g} to {self.field.most:g}."
        return HINTS.get(self.field.kind, "")

    @property
    def rows(self) -> int:
        """Lines of the text area; 0: one line is enough."""
        return min(max(3, self.text.count("\n") + 2), 12) if self.field.kind in MANY_LINES else 0


def forms_of(shown: PluginPanel, default: str) -> tuple[PanelForm, ...]:
    """What the panel offers; one of all settings, called `default`, where it names none."""
    return shown.panel.forms or (PanelForm(default),)


def fields_of(form: PanelForm, fields: Iterable[SettingField]) -> tuple[SettingField, ...]:
    """The form's fields in its own order; a key of a nested table stands for all in it."""
    listed = tuple(fields)
    if not form.keys:
        return listed
    return tuple(field for key in form.keys for field in listed if top_key(field.key) == key)


def top_key(key: str) -> str:
    return key.partition(".")[0]


def shown_text(field: SettingField) -> str:
    """The present value as it would be typed."""
    value = field.value
    match field.kind:
        case FieldKind.FLAG:
            return "on" if value else ""
        case FieldKind.LIST:
            return "\n".join(value)
        case FieldKind.TABLE:
            return "\n".join(f"{name} = {text}" for name, text in value.items())
        case FieldKind.LISTS:
            return "\n".join(f"{name} = {', '.join(texts)}" for name, texts in value.items())
        case FieldKind.DECIMAL:
            return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return "" if value is None else str(value)


def typed_value(field: SettingField, text: str) -> JsonValue:
    """What a person typed, as the setting's type. Raises `TypedError`."""
    match field.kind:
        case FieldKind.FLAG:
            return text == "on"
        case FieldKind.NUMBER:
            return _number(text, int)
        case FieldKind.DECIMAL:
            return _number(text, float)
        case FieldKind.LIST:
            return _lines(text)
        case FieldKind.TABLE:
            return dict(_pairs(text))
        case FieldKind.LISTS:
            return {name: value.replace(",", " ").split() for name, value in _pairs(text).items()}
    return text.strip()


def _number(text: str, kind: type[int] | type[float]) -> int | float:
    try:
        number = kind(text.strip())
        if math.isfinite(number) and abs(number) < 1 << 63:
            return number
        raise ValueError
    except (ValueError, OverflowError):
        mend = "write a whole number" if kind is int else "write a number such as 52.5"
        raise TypedError(f"{text.strip()[:64]!r} is no number", mend=mend) from None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _lines(text):
        name, sign, value = (part.strip() for part in line.partition("="))
        if not (name and sign):
            raise TypedError(f"{line[:64]!r} is no name with its value", mend="write it as name = value")
        if name in found:
            raise TypedError(f"{name[:64]!r} is there twice", mend="keep one of the two lines")
        found[name] = value
    return found


def typed_text(field: SettingField, posted: Mapping[str, str]) -> str:
    """What came with the form; a browser leaves out boxes that are not ticked."""
    return posted.get(field.key, "").replace("\r\n", "\n")


def read_form(
    fields: Sequence[SettingField], posted: Mapping[str, str]
) -> tuple[dict[str, JsonValue], tuple[SettingProblem, ...]]:
    """What is to be set, by top key: only what differs from what is in force. And what nobody can read."""
    wanted: dict[str, JsonValue] = {}
    problems: list[SettingProblem] = []
    for field in fields:
        text = typed_text(field, posted)
        if field.secret and not text:
            wanted |= {field.key: None} if FORGET + field.key in posted else {}
            continue
        if text == shown_text(field):
            continue  # whatever the value is: what nobody touched stays
        try:
            value = typed_value(field, text)
        except TypedError as error:
            problems.append(SettingProblem(field.key, f"{field.key}: {error.text}", error.mend))
            continue
        if value != field.value:
            _put(wanted, fields, field.key, value)
    return wanted, tuple(problems)


def _put(wanted: dict[str, JsonValue], fields: Sequence[SettingField], key: str, value: JsonValue) -> None:
    """A nested table is set as a whole."""
    top, _, name = key.partition(".")
    if not name:
        wanted[top] = value
        return
    table = wanted.setdefault(
        top, {each.key.partition(".")[2]: each.value for each in fields if top_key(each.key) == top}
    )
    assert isinstance(table, dict)
    table[name] = value


def inputs(
    fields: Iterable[SettingField], posted: Mapping[str, str] | None, problems: Sequence[SettingProblem]
) -> tuple[Input, ...]:
    """With what was typed where there is something; secrets are never given back."""
    return tuple(_input(field, posted, problems) for field in fields)


def _input(field: SettingField, posted: Mapping[str, str] | None, problems: Sequence[SettingProblem]) -> Input:
    text = shown_text(field) if posted is None else typed_text(field, posted)
    own = tuple(each for each in problems if is_about(each, field))
    return Input(field, "" if field.secret else text, own)


def is_about(problem: SettingProblem, field: SettingField) -> bool:
    """A problem of "routes[2]" or "routes.corp" is one of the setting "routes"."""
    return problem.key == field.key or problem.key.startswith((f"{field.key}[", f"{field.key}."))


def fingerprint(fields: Iterable[SettingField]) -> str:
    """Changes when another value is in force: a form that was opened before must not undo what others did since."""
    texts = [(field.key, shown_text(field), field.is_set) for field in fields]
    return hashlib.sha256(repr(texts).encode()).hexdigest()[:16]
