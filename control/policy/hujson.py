"""HuJSON: JSON with `//` and `/* */` comments and trailing commas; every value knows its place.

Not a general JSON library: it serves files that people write, so each error says where it is and what to write
instead. Format: policy-and-management spec 1.1.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import NoReturn

from control.policy.problems import Place, PolicyError, Problem

MAX_BYTES = 8 << 20
MAX_DEPTH = 64

_SPACE = re.compile(r"[ \t\r\n]+")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
_WORD = re.compile(r"[^\s{}\[\],:\"'/]+")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LITERALS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class Member:
    """`"name": value` of an object. `start`: offset of the name in characters."""

    name: str
    place: Place
    value: Value
    start: int = 0


@dataclass(frozen=True, slots=True)
class Value:
    """A JSON value: str, int, float, bool, None, a tuple of `Value` (array) or of `Member` (object).

    `span`: its first offset in characters and the one behind it.
    """

    data: str | int | float | bool | tuple[Value, ...] | tuple[Member, ...] | None
    place: Place
    is_object: bool = False
    span: tuple[int, int] = (0, 0)

    @property
    def kind(self) -> str:
        """The word that errors use."""
        if isinstance(self.data, tuple):
            return "an object" if self.is_object else "a list"
        if isinstance(self.data, bool):
            return "true" if self.data else "false"
        if self.data is None:
            return "null"
        return "a string" if isinstance(self.data, str) else "a number"


def parse_hujson(text: str | bytes) -> Value | None:
    """The document, or None for an empty one (nothing but spaces and comments). Raises `PolicyError`."""
    if isinstance(text, bytes):
        text = _decode(text)
    if len(text) > MAX_BYTES:
        raise PolicyError([Problem(Place(1, 1), f"the file is larger than {MAX_BYTES >> 20} MiB")])
    scanner = _Scanner(text)
    scanner.skip()
    if scanner.at_end():
        return None
    value = scanner.value(0)
    scanner.skip()
    if not scanner.at_end():
        scanner.fail("text after the end of the document", "one object is the whole file; remove the rest")
    return value


def skip_trivia(text: str, at: int) -> int:
    """The next offset that is no space and no comment; `text` has been parsed, so comments are closed."""
    while True:
        if space := _SPACE.match(text, at):
            at = space.end()
        elif comment := COMMENT.match(text, at):
            at = comment.end()
        else:
            return at


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise PolicyError([Problem(place, "not UTF-8", "save the file as UTF-8")]) from None


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 1 if text.startswith("\ufeff") else 0
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def at_end(self) -> bool:
        return self._at >= len(self._text)

    def place(self, offset: int) -> Place:
        line = bisect_right(self._line_starts, offset)
        return Place(line, offset - self._line_starts[line - 1] + 1)

    def fail(self, text: str, mend: str = "", at: int | None = None) -> NoReturn:
        raise PolicyError([Problem(self.place(self._at if at is None else at), text, mend)])

    def skip(self) -> None:
        """Past spaces and comments."""
        text = self._text
        while self._at < len(text):
            if space := _SPACE.match(text, self._at):
                self._at = space.end()
            elif text.startswith("//", self._at):
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end + 1
            elif text.startswith("/*", self._at):
                end = text.find("*/", self._at + 2)
                if end < 0:
                    self.fail("comment is never closed", "close it with */")
                self._at = end + 2
            else:
                return

    def value(self, depth: int) -> Value:
        start = self._at
        found = self._value(depth)
        return Value(found.data, found.place, found.is_object, (start, self._at))

    def _value(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH} levels")
        if self.at_end():
            self.fail("the file ends where a value belongs", "is a bracket missing?")
        start = self._at
        letter = self._text[start]
        if letter == "{":
            return self._object(depth)
        if letter == "[":
            return self._array(depth)
        if letter == '"':
            return Value(self._string(), self.place(start))
        if letter == "-" or letter.isdigit():
            return self._number()
        return self._literal()

    def _number(self) -> Value:
        start = self._at
        match = _NUMBER.match(self._text, start)
        word = _WORD.match(self._text, start)
        if match is None or word is None or word.end() != match.end():
            shown = word.group() if word else self._text[start]
            self.fail(f"not a number: {shown[:40]}", f'write "{shown[:40]}" if text is meant')
        self._at = match.end()
        digits = match.group()
        if len(digits) > 400:
            self.fail("number with more than 400 digits", at=start)
        is_integer = digits.lstrip("-").isdigit()
        return Value(int(digits) if is_integer else float(digits), self.place(start))

    def _literal(self) -> Value:
        start = self._at
        word = _WORD.match(self._text, start)
        if word is None:
            self._fail_at_letter()
        if word.group() not in _LITERALS:
            lower = word.group().lower()
            right = {"none": "null", "nil": "null"}.get(lower, lower)
            mend = right if right in _LITERALS else f'"{word.group()[:40]}"'
            self.fail(f"unexpected word: {word.group()[:40]}", f"write {mend}")
        self._at = word.end()
        return Value(_LITERALS[word.group()], self.place(start))

    def _fail_at_letter(self) -> NoReturn:
        letter = self._text[self._at]
        if letter == "'":
            self.fail("strings stand in double quotes", "write \" instead of '")
        if letter == ",":
            self.fail("a comma where a value belongs", "remove it")
        self.fail(f"unexpected {letter!r} where a value belongs", "is a value or a bracket missing?")

    def _string(self) -> str:
        start = self._at
        self._at += 1
        parts: list[str] = []
        while True:
            if plain := _PLAIN.match(self._text, self._at):
                parts.append(plain.group())
                self._at = plain.end()
            if self.at_end() or self._text[self._at] in "\r\n":
                self.fail("string is never closed", 'close it with " on the same line', at=start)
            letter = self._text[self._at]
            if letter == '"':
                self._at += 1
                return "".join(parts)
            if letter != "\\":
                self.fail("control character in a string", f"write \\u{ord(letter):04x}")
            parts.append(self._escape())

    def _escape(self) -> str:
        start = self._at
        code = self._text[start + 1 : start + 2]
        if code in _ESCAPES and code:
            self._at += 2
            return _ESCAPES[code]
        if code == "u":
            return self._unicode_escape()
        self.fail(f"unknown escape \\{code}", "write \\\\ for a backslash")

    def _unicode_escape(self) -> str:
        unit = self._hex_unit()
        if 0xD800 <= unit < 0xDC00 and self._text.startswith("\\u", self._at):
            mark = self._at
            low = self._hex_unit()
            if 0xDC00 <= low < 0xE000:
                return chr(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))
            self._at = mark
        if 0xD800 <= unit < 0xE000:
            self.fail("half of a surrogate pair", "write the character itself", at=self._at - 6)
        return chr(unit)

    def _hex_unit(self) -> int:
        digits = self._text[self._at + 2 : self._at + 6]
        if not re.fullmatch("[0-9a-fA-F]{4}", digits):
            self.fail("\\u needs four hex digits", "for example \\u00e9")
        self._at += 6
        return int(digits, 16)

    def _array(self, depth: int) -> Value:
        start = self._at
        self._at += 1
        items: list[Value] = []
        while not self._closed("]", start):
            items.append(self.value(depth + 1))
            self._comma("]", start)
        return Value(tuple(items), self.place(start))

    def _object(self, depth: int) -> Value:
        start = self._at
        self._at += 1
        members: list[Member] = []
        seen: dict[str, Place] = {}
        while not self._closed("}", start):
            member = self._member(depth)
            if member.name in seen:
                mend = f"join it with the one at {seen[member.name]}"
                raise PolicyError([Problem(member.place, f'"{member.name}" stands here twice', mend)])
            seen[member.name] = member.place
            members.append(member)
            self._comma("}", start)
        return Value(tuple(members), self.place(start), is_object=True)

    def _member(self, depth: int) -> Member:
        start = self._at
        if self._text[start] != '"':
            word = _WORD.match(self._text, start)
            if word is None:
                self._fail_at_letter()
            self.fail("names stand in double quotes", f'write "{word.group()[:40]}"')
        name = self._string()
        self.skip()
        if self.at_end() or self._text[self._at] != ":":
            self.fail(f'no colon after "{name[:40]}"', f'write "{name[:40]}": value')
        self._at += 1
        self.skip()
        return Member(name, self.place(start), self.value(depth + 1), start)

    def _closed(self, bracket: str, start: int) -> bool:
        self.skip()
        if self.at_end():
            self._fail_unclosed(bracket, start)
        if self._text[self._at] != bracket:
            return False
        self._at += 1
        return True

    def _comma(self, bracket: str, start: int) -> None:
        end_of_value = self._at
        self.skip()
        if self.at_end():
            self._fail_unclosed(bracket, start)
        letter = self._text[self._at]
        if letter == ",":
            self._at += 1
        elif letter in "}]" and letter != bracket:
            self.fail(f"{letter!r} closes what {self.place(start)} opened otherwise", f"write {bracket}")
        elif letter != bracket:
            self.fail(f"no comma before {letter!r}", "put a comma here", at=end_of_value)

    def _fail_unclosed(self, bracket: str, start: int) -> NoReturn:
        self.fail(f"the file ends and {self.place(start)} is still open", f"close it with {bracket}")
