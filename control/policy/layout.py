"""One layout for HuJSON documents, comments kept: two spaces a level, a comma behind everything that has its own line.

What stands on one line stays on one line, and what was spread is spread; more than one empty line becomes one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from control.policy.hujson import parse_hujson

INDENT = "  "
_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n\ufeff]+)|(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<mark>[{}\[\],:])"
    r'|(?P<atom>"(?:[^"\\]|\\.)*"|[^\s{}\[\],:"/]+)',
    re.DOTALL,
)


@dataclass(slots=True)
class _Token:
    """`lines`: line breaks before it."""

    kind: str
    text: str
    lines: int


@dataclass(slots=True)
class _Item:
    """A value, after its name in an object, with the comments around it. `inner`: block comments before the value."""

    blank: bool = False
    before: list[str] = field(default_factory=list)
    name: str = ""
    inner: list[str] = field(default_factory=list)
    value: str | _Group = ""
    after: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Group:
    """An array or object. `end`: comments before its bracket closes."""

    brackets: str
    items: list[_Item] = field(default_factory=list)
    end: list[str] = field(default_factory=list)
    blank: bool = False
    spread: bool = False


def format_hujson(text: str) -> str:
    """The same document in our layout; "" stays "". Raises `PolicyError` for what is no HuJSON."""
    if parse_hujson(text) is None and not text.strip("\ufeff \t\r\n"):
        return ""
    tokens = _tokens(text)
    reader = _Reader(tokens)
    lines = reader.spaced(reader.comments())
    if not reader.at_end():
        group = reader.value()
        if isinstance(group, _Group):
            group.spread = group.spread or bool(group.items)
        lines.append(_rendered(group, ""))
        lines += [token.text for token in reader.comments()]
    return "\n".join(line.rstrip() for line in "\n".join(lines).split("\n")) + "\n"


def _tokens(text: str) -> list[_Token]:
    found, lines = list[_Token](), 0
    for match in _TOKEN.finditer(text):
        kind, part = match.lastgroup or "", match.group()
        if kind == "space":
            lines = part.count("\n")
            continue
        found.append(_Token(kind, part.rstrip("\r"), lines))
        lines = 0
    return found


class _Reader:
    """Tokens of a document that has been parsed already, so that brackets and commas are where they belong."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def at_end(self) -> bool:
        return self._at >= len(self._tokens)

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _is(self, *marks: str) -> bool:
        return not self.at_end() and self._tokens[self._at].kind == "mark" and self._tokens[self._at].text in marks

    def comments(self) -> list[_Token]:
        """Those that stand here."""
        found = []
        while not self.at_end() and self._tokens[self._at].kind == "comment":
            found.append(self._next())
        return found

    def spaced(self, comments: list[_Token]) -> list[str]:
        """Their texts, "" for an empty line between them or behind them."""
        found: list[str] = []
        for number, token in enumerate(comments):
            found += ["", token.text] if number and token.lines > 1 else [token.text]
        if comments and not self.at_end() and self._tokens[self._at].lines > 1:
            found.append("")
        return found

    def value(self) -> str | _Group:
        token = self._next()
        if token.text not in ("{", "["):
            return token.text
        group = _Group("{}" if token.text == "{" else "[]")
        group.spread = not self.at_end() and self._tokens[self._at].lines > 0 and not self._is("]", "}")
        self._fill(group)
        return group

    def _fill(self, group: _Group) -> None:
        while True:
            comments = self.comments()
            if self._is("]", "}"):
                group.end = [token.text for token in comments]
                group.blank = bool(comments) and comments[0].lines > 1
                group.spread = group.spread or any(_needs_line(token.text) for token in comments)
                self._next()
                return
            item = self._item(comments, named=group.brackets == "{}")
            group.items.append(item)
            inside = isinstance(item.value, _Group) and item.value.spread
            group.spread = group.spread or inside or any(_needs_line(one) for one in (*item.before, *item.after))

    def _item(self, comments: list[_Token], *, named: bool) -> _Item:
        first = comments[0] if comments else self._tokens[self._at]
        item = _Item(blank=first.lines > 1, before=self.spaced(comments))
        if named:
            item.name = self._next().text
            self._aside(item)
            self._next()
        self._aside(item)
        item.value = self.value()
        self._behind(item)
        if self._is(","):
            self._next()
            if self._line_ends():
                self._behind(item)
        return item

    def _line_ends(self) -> bool:
        """Whether nothing but comments stands between here and the end of the line or of the group."""
        ahead = self._at
        while ahead < len(self._tokens) and self._tokens[ahead].kind == "comment":
            if self._tokens[ahead].lines:
                return True
            ahead += 1
        return ahead < len(self._tokens) and (self._tokens[ahead].lines > 0 or self._tokens[ahead].text in ("]", "}"))

    def _aside(self, item: _Item) -> None:
        """Comments between name and value: line comments go before the item."""
        for token in self.comments():
            (item.before if _needs_line(token.text) else item.inner).append(token.text)

    def _behind(self, item: _Item) -> None:
        """Comments on the item's last line, and any before its comma."""
        while not self.at_end() and self._tokens[self._at].kind == "comment":
            ahead = self._at
            while ahead < len(self._tokens) and self._tokens[ahead].kind == "comment":
                ahead += 1
            before_comma = ahead < len(self._tokens) and self._tokens[ahead].text == ","
            if self._tokens[self._at].lines and not (before_comma and self._tokens[ahead].kind == "mark"):
                return
            item.after.append(self._next().text)


def _needs_line(comment: str) -> bool:
    return comment.startswith("//") or "\n" in comment


def _rendered(value: str | _Group, indent: str) -> str:
    if isinstance(value, str):
        return value
    opened, closed = value.brackets[0], value.brackets[1]
    if not value.spread:
        parts = [_one_line(item, indent) for item in value.items]
        return opened + " ".join([", ".join(parts), *value.end]).strip() + closed
    inner = indent + INDENT
    lines = [opened]
    for number, item in enumerate(value.items):
        if item.blank and number:
            lines.append("")
        lines += [inner + comment if comment else "" for comment in item.before]
        behind = "".join(f" {comment}" for comment in _ordered(item.after))
        lines.append(f"{inner}{_head(item)}{_rendered(item.value, inner)},{behind}")
    lines += [""] if value.blank and value.items else []
    lines += [inner + comment for comment in value.end]
    return "\n".join([*lines, indent + closed])


def _one_line(item: _Item, indent: str) -> str:
    return " ".join([*filter(None, item.before), _head(item) + _rendered(item.value, indent), *item.after])


def _head(item: _Item) -> str:
    name = f"{item.name}: " if item.name else ""
    return name + "".join(f"{comment} " for comment in item.inner)


def _ordered(comments: list[str]) -> list[str]:
    """A line comment ends its line, so only the last may be one; more of them become block comments."""
    if len(comments) < 2:
        return comments
    return [
        comment if not comment.startswith("//") else f"/*{comment[2:].replace('*/', '* /')} */"
        for comment in comments[:-1]
    ] + comments[-1:]
