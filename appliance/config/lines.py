"""Where each key of a TOML text stands: line numbers by dotted key, so that an error can name the line.

The text has been parsed already and is valid; here only the shape is followed: headers, keys, and where values end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from appliance.types.errors import ConfigError

_KEY = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
_STRINGS = ('"""', "'''", '"', "'")
_PLACED = re.compile(r"[A-Za-z0-9_-]+(?:\.[^\s:]+)+")


def line_numbers(text: str) -> dict[str, int]:
    """Line, from 1, of each table, of each key ("tunnel.port") and of each entry of a list ("paths.uplinks[1]")."""
    return _Scanner(text).scan()


def place_of(key: str, places: Mapping[str, str]) -> str:
    """The place of a key, or of what it is in; "" where none is known."""
    while key:
        if key in places:
            return places[key]
        key = key[: max(key.rfind("."), key.rfind("["))] if "." in key or "[" in key else ""
    return ""


def placed(error: ConfigError, places: Mapping[str, str]) -> ConfigError:
    """The same error with file and line before the dotted key that its text begins with."""
    found = _PLACED.match(error.text)
    place = place_of(found[0], places) if found is not None else ""
    return ConfigError(f"{place}: {error.text}", mend=error.mend, code=error.code) if place else error


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found: dict[str, int] = {}

    def scan(self) -> dict[str, int]:
        table = ""
        while self._at < len(self._text):
            self._skip(" \t\r\n")
            if self._is("#"):
                self._to_line_end()
            elif self._is("["):
                table = self._header()
            elif self._at < len(self._text):
                self._pair(table)
        return self._found

    @property
    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _is(self, start: str) -> bool:
        return self._text.startswith(start, self._at)

    def _skip(self, characters: str) -> None:
        while self._at < len(self._text) and self._text[self._at] in characters:
            self._at += 1

    def _to_line_end(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = end if end >= 0 else len(self._text)

    def _header(self) -> str:
        line = self._line
        self._skip("[")
        name = self._key()
        self._found.setdefault(name, line)
        self._to_line_end()
        return name

    def _key(self) -> str:
        parts: list[str] = []
        while (match := _KEY.match(self._text, self._at)) is not None:
            parts.append(next(group for group in match.groups() if group is not None))
            self._at = match.end()
            if not self._is("."):
                break
            self._at += 1
        return ".".join(parts)

    def _pair(self, table: str) -> None:
        line, name = self._line, self._key()
        path = f"{table}.{name}" if table else name
        self._found[path] = line
        equals = self._text.find("=", self._at)
        self._at = equals + 1 if equals >= 0 else len(self._text)
        self._skip(" \t")
        self._value(path)

    def _value(self, path: str) -> None:
        """To the end of the value and its line; entries of a list are found on the way."""
        depth, entry, wants_entry, is_list = 0, 0, False, self._is("[")
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "\n" and depth == 0:
                return
            if character == "#":
                self._to_line_end()
                continue
            if wants_entry and depth == 1 and character not in " \t\r\n],":
                self._found[f"{path}[{entry}]"] = self._line
                entry, wants_entry = entry + 1, False
            if quote := next((each for each in _STRINGS if self._is(each)), ""):
                self._string(quote)
                continue
            depth += (character in "[{") - (character in "]}")
            wants_entry = wants_entry or (is_list and depth == 1 and character in "[,")
            self._at += 1

    def _string(self, quote: str) -> None:
        self._at += len(quote)
        while self._at < len(self._text) and not self._is(quote):
            self._at += 2 if self._is("\\") and quote[0] == '"' else 1
        self._at += len(quote)
