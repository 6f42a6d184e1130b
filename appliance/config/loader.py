"""Reading `waypost.toml` and its drop-ins, and checking all of it before anything is used.

Every problem is found in one pass; each names the file, the key path and the mend.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any

from appliance.config.lines import line_numbers
from appliance.config.schema import SECTIONS, VERSION, Config
from appliance.types.errors import ConfigError

_MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong thing: where it is (`file`, dotted `key`), what it is, and what to do."""

    file: str
    key: str
    text: str
    mend: str = ""

    def line(self) -> str:
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{where} {self.text}" + (f" ({self.mend})" if self.mend else "")


class InvalidConfigError(ConfigError):
    """One or more problems; `text` shows the first, `problems` has all of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        more = f" and {len(self.problems) - 1} more" if len(self.problems) > 1 else ""
        where = f"{first.file}: {first.key}" if first.key else first.file
        super().__init__(f"{where} {first.text}{more}", mend=first.mend or "correct the file, then start again")


class _Table:
    """The merged settings with the file and line that each came from."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origin: dict[str, str] = {}

    def merge(self, incoming: Mapping[str, Any], file: str, lines: Mapping[str, int]) -> None:
        """`lines` are those of the file's keys; a key's place is "file:line"."""
        self._merge(self.values, incoming, file, "")
        self.origin.update({key: f"{file}:{number}" for key, number in lines.items()})

    def _merge(self, into: dict[str, Any], incoming: Mapping[str, Any], file: str, path: str) -> None:
        for name, value in incoming.items():
            key = f"{path}{name}"
            self.origin[key] = file
            if isinstance(value, dict) and isinstance(into.get(name), dict):
                self._merge(into[name], value, file, f"{key}.")
            elif isinstance(value, dict):
                into[name] = {}
                self._merge(into[name], value, file, f"{key}.")
            else:
                into[name] = value
                for entry in [known for known in self.origin if known.startswith(f"{key}[")]:
                    del self.origin[entry]  # of the list that this one replaces


def load_config(path: Path, *, must_exist: bool = False) -> Config:
    """Read `path` and `<path without suffix>.d/*.toml`; a missing file means defaults unless `must_exist`.

    Raises `InvalidConfigError`.
    """
    table = _Table()
    sources = [*_main_file(path, must_exist), *_drop_ins(path)]
    for source in sources:
        content, lines = _read(source)
        _check_version(content, f"{source}:{lines['version']}" if "version" in lines else str(source))
        table.merge({name: value for name, value in content.items() if name != "version"}, str(source), lines)
    return build_config(table.values, table.origin, tuple(str(source) for source in sources))


def _main_file(path: Path, must_exist: bool) -> list[Path]:
    if path.exists():
        return [path]
    if must_exist:
        raise InvalidConfigError([Problem(str(path), "", "does not exist", "create it or give another --config")])
    return []


def _drop_ins(path: Path) -> list[Path]:
    folder = path.with_suffix(".d")
    return sorted(folder.glob("*.toml")) if folder.is_dir() else []


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The settings, and on which lines they stand."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidConfigError([Problem(str(path), "", f"cannot be read: {reason}", "check its rights")]) from error
    if len(data) > _MAX_FILE_BYTES:
        raise InvalidConfigError([Problem(str(path), "", "is larger than 1 MiB", "is it the right file?")])
    try:
        text = data.decode()
        return tomllib.loads(text), line_numbers(text)
    except UnicodeDecodeError:
        raise InvalidConfigError([Problem(str(path), "", "is not UTF-8 text", "save it as UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        problem = Problem(str(path), "", f"is not valid TOML: {error}", "correct the syntax at that place")
        raise InvalidConfigError([problem]) from None


def _check_version(content: Mapping[str, Any], file: str) -> None:
    version = content.get("version", VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidConfigError([Problem(file, "version", "must be a whole number from 1", f"write {VERSION}")])
    if version > VERSION:
        text = f"is {version}; this release knows versions up to {VERSION}"
        raise InvalidConfigError([Problem(file, "version", text, "update Waypost, or write the file for this release")])


def build_config(
    values: Mapping[str, Any], origin: Mapping[str, str] | None = None, sources: tuple[str, ...] = ()
) -> Config:
    """Check merged settings and make the dataclasses. `origin` maps a dotted key to its file and line."""
    origin = origin or {}
    problems: list[Problem] = []
    sections: dict[str, Any] = {}
    plugins: Mapping[str, Any] = {}
    for name, value in values.items():
        file = origin.get(name, "configuration")
        if not isinstance(value, dict):
            known = name in SECTIONS or name == "plugins"
            problems.append(_not_a_table(file, name) if known else _unknown(file, name, name, [*SECTIONS, "plugins"]))
        elif name == "plugins":
            problems.extend(_plugin_problems(value, origin))
            plugins = value
        elif name in SECTIONS:
            problems.extend(_section_problems(SECTIONS[name], name, value, origin))
            sections[name] = value
        else:
            problems.append(_unknown(file, name, name, [*SECTIONS, "plugins"]))
    if problems:
        raise InvalidConfigError(problems)
    made = {name: SECTIONS[name](**_frozen(value)) for name, value in sections.items()}
    return Config(**made, plugins=plugins, sources=sources, places=origin)


def _frozen(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _not_a_table(file: str, key: str) -> Problem:
    return Problem(file, key, "must be a table", f"write [{key}] on a line of its own and the settings below it")


def _unknown(file: str, key: str, name: str, known: Iterable[str]) -> Problem:
    near = difflib.get_close_matches(name, list(known), n=1)
    mend = f"did you mean {near[0]}?" if near else "known here: " + ", ".join(sorted(known))
    return Problem(file, key, "is not a known setting", mend)


def _plugin_problems(tables: Mapping[str, Any], origin: Mapping[str, str]) -> Iterator[Problem]:
    for name, table in tables.items():
        if not isinstance(table, dict):
            key = f"plugins.{name}"
            yield _not_a_table(origin.get(key, "configuration"), key)


def _section_problems(
    section: type, section_name: str, values: Mapping[str, Any], origin: Mapping[str, str]
) -> Iterator[Problem]:
    known = {item.name: item for item in fields(section)}
    for name, value in values.items():
        key = f"{section_name}.{name}"
        file = origin.get(key, "configuration")
        if name not in known:
            yield _unknown(file, key, name, known)
            continue
        wrong = _value_problem(known[name], value)
        if wrong:
            yield Problem(file, key, wrong, _mend(known[name]))


_TYPE_WORDS = {"str": "text in quotes", "int": "a whole number", "bool": "true or false"}


def _value_problem(item: Field[Any], value: Any) -> str:
    wanted = type(item.default)
    if wanted is tuple:
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            return "must be a list of texts in quotes"
    elif type(value) is not wanted:
        return f"must be {_TYPE_WORDS[wanted.__name__]}"
    check = item.metadata.get("check")
    return check(value) if check is not None else ""


def _mend(item: Field[Any]) -> str:
    if item.default is MISSING or item.default in ("", ()):
        return ""
    return f"the default is {item.default!r}"
