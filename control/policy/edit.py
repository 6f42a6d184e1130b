"""Changes of a HuJSON document in place: what is not touched stays as it was, comments and layout included.

A path names a value from the outside in, by member names; `("groups", "group:ops")` is a list of users. What is missing
on the way is made.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from control.policy.hujson import COMMENT, Member, Value, parse_hujson, skip_trivia
from control.policy.problems import Place, PolicyError, Problem
from control.policy.reader import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

Path = tuple[str, ...]
INDENT = "  "
_SAME_LINE = re.compile(r"(?:[ \t]|//[^\n]*|/\*(?:(?!\*/)[^\n])*\*/)*")
_REST_OF_LINE = re.compile(r"(?:[ \t]|/\*(?:(?!\*/)[^\n])*\*/)*(?://[^\n]*)?(?:\n|$)")


def put(text: str, path: Path, value: Any) -> str:
    """Set the member at `path`. Raises `PolicyError` where something on the way is no object."""
    text, document = _document(text)
    for depth, name in enumerate(path):
        member = _member(document, name)
        if member is None:
            for inner in reversed(path[depth + 1 :]):
                value = {inner: value}
            return _insert(text, document, f"{_json(name)}: {_json(value)}", outer=depth == 0)
        document = member.value
    start, end = document.span
    return text[:start] + _json(value) + text[end:]


def append(text: str, path: Path, value: Any) -> str:
    """Add to the list at `path`, unless it holds the value already. Raises `PolicyError` where there is no list."""
    found = _find(text, path)
    if found is None:
        return put(text, path, [value])
    items = _items(found)
    if any(plain(item) == value for item in items):
        return text
    return _insert(text, found, _json(value), outer=False)


def remove(text: str, path: Path) -> str:
    """Take the member at `path` away, with the comment on its line. Raises `PolicyError` if it is not there."""
    holder = _find(text, path[:-1])
    members = _members(holder) if holder is not None else ()
    for index, member in enumerate(members):
        if member.name == path[-1] and holder is not None:
            ends = [one.value.span[1] for one in members]
            return _cut(text, index, [one.start for one in members], ends)
    raise _missing(holder, path[-1])


def remove_value(text: str, path: Path, value: Any) -> str:
    """Take the value out of the list at `path`. Raises `PolicyError` if it is not there."""
    found = _find(text, path)
    items = _items(found) if found is not None else ()
    for index, item in enumerate(items):
        if plain(item) == value:
            return _cut(text, index, [one.span[0] for one in items], [one.span[1] for one in items])
    raise _missing(found, str(value))


def _document(text: str) -> tuple[str, Value]:
    document = parse_hujson(text)
    if document is None:
        text = (text.rstrip() + "\n" if text.strip() else "") + "{\n}\n"
        document = parse_hujson(text)
        assert document is not None
    return text, document


def _find(text: str, path: Path) -> Value | None:
    found = parse_hujson(text)
    for name in path:
        member = None if found is None else _member(found, name)
        found = None if member is None else member.value
    return found


def _members(value: Value) -> tuple[Member, ...]:
    if not value.is_object:
        raise PolicyError([Problem(value.place, f"{value.kind} stands here, not an object", "mend it by hand")])
    return value.data  # type: ignore[return-value]  # an object holds members


def _items(value: Value) -> tuple[Value, ...]:
    if value.is_object or not isinstance(value.data, tuple):
        raise PolicyError([Problem(value.place, f"{value.kind} stands here, not a list", "mend it by hand")])
    return value.data  # type: ignore[return-value]  # an array holds values


def _member(value: Value, name: str) -> Member | None:
    return next((member for member in _members(value) if member.name == name), None)


def _missing(holder: Value | None, name: str) -> PolicyError:
    place = Place(1, 1) if holder is None else holder.place
    return PolicyError([Problem(place, f'"{name}" is not there', "nothing is to be removed")])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _insert(text: str, holder: Value, rendered: str, *, outer: bool) -> str:
    """Behind the last item of an array or object; on a line of its own where the last item has one."""
    opened, close = holder.span[0], holder.span[1] - 1
    assert isinstance(holder.data, tuple)
    if not holder.data:
        return _fill(text, opened, close, rendered, outer=outer)
    last = holder.data[-1]
    start, end = (last.start, last.value.span[1]) if isinstance(last, Member) else last.span
    line = text.rfind("\n", 0, start) + 1
    comma = skip_trivia(text, end)
    if text[comma] == ",":
        at, ended = comma + 1, True
    else:
        text, at, close, ended = text[:end] + "," + text[end:], end + 1, close + 1, False
    if text[line:start].strip() or line <= opened:
        return text[:at] + f" {rendered}{',' if ended else ''}" + text[at:]
    rest = _SAME_LINE.match(text, at, close)
    at = at if rest is None else rest.end()
    ended = "\n" in text[at:close]
    before = text[:at].rstrip(" \t")
    return f"{before}\n{text[line:start]}{rendered}{',' if ended else ''}{text[at:]}"


def _fill(text: str, opened: int, close: int, rendered: str, *, outer: bool) -> str:
    """The first item of an empty array or object."""
    inner = text[opened + 1 : close]
    if not outer and "\n" not in inner:
        return text[: opened + 1] + (f"{inner.strip()} " if inner.strip() else "") + rendered + text[close:]
    line = text[text.rfind("\n", 0, opened) + 1 : opened]
    indent = line[: len(line) - len(line.lstrip())]
    kept = inner.rstrip()
    return f"{text[: opened + 1]}{kept}\n{indent}{INDENT}{rendered},\n{indent}{text[close:]}"


def _cut(text: str, index: int, starts: Sequence[int], ends: Sequence[int]) -> str:
    """Take out one item with its comma; a line that it had for itself goes as a whole."""
    start, end = starts[index], ends[index]
    comma = skip_trivia(text, end)
    if text[comma] == ",":
        end = comma + 1
    line = text.rfind("\n", 0, start) + 1
    rest = _REST_OF_LINE.match(text, end)
    if rest is not None and not text[line:start].strip() and line > 0:
        return text[:line] + text[rest.end() :]
    if text[comma] != "," and index and not COMMENT.search(text, ends[index - 1], start):
        return text[: ends[index - 1]] + text[end:]
    return text[:start] + text[end:].lstrip(" \t")
