"""A small XML reader for what routers send: bounded, without entities or document types (no expansion, no fetching)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers.expat import ExpatError, ParserCreate  # document types are refused below

from appliance.types.errors import DecodeError, DecodeReason

MAX_SIZE = 1 << 17
MAX_DEPTH = 32
MAX_ELEMENTS = 4000


@dataclass(slots=True)
class Element:
    """`name` is the local name, its prefix cut off; `text` what stands directly inside, stripped."""

    name: str
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def find(self, name: str) -> Element | None:
        """The first child of that name, whatever its case."""
        return next((child for child in self.children if child.name.lower() == name.lower()), None)

    def value(self, name: str) -> str:
        """Text of a child, "" when there is none."""
        found = self.find(name)
        return found.text if found is not None else ""

    def walk(self) -> Iterator[Element]:
        """This and all below, in order of the document."""
        yield self
        for child in self.children:
            yield from child.walk()


class _Reader:
    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0

    def start(self, name: str, _attributes: object) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise DecodeError(DecodeReason.TOO_LONG, "XML with too many elements")
        element = Element(name.rpartition(":")[2])
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _name: str) -> None:
        element = self._open.pop()
        element.text = element.text.strip()

    def text(self, data: str) -> None:
        if self._open:
            self._open[-1].text += data


def _refuse(*_: object) -> None:
    raise DecodeError(DecodeReason.UNEXPECTED, "XML with a document type")


def parse_markup(data: bytes) -> Element:
    """The root element of an UTF-8 (or, where that fails, Latin-1) document. Raises `DecodeError`."""
    if len(data) > MAX_SIZE:
        raise DecodeError(DecodeReason.TOO_LONG, "XML document")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    reader = _Reader()
    # the encoding is ours to say: what the document claims would load a codec by a name that others choose
    parser = ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(text.strip().encode(), True)
    except ExpatError:
        raise DecodeError(DecodeReason.BAD_TEXT, "XML document") from None
    if reader.root is None:
        raise DecodeError(DecodeReason.TOO_SHORT, "XML document")
    return reader.root
