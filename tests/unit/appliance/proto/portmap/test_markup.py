from __future__ import annotations

import pytest

from appliance.proto.portmap.markup import MAX_DEPTH, MAX_ELEMENTS, MAX_SIZE, parse_markup
from appliance.types.errors import DecodeError, DecodeReason

LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><l>&b;</l>"""
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE l SYSTEM "file:///etc/passwd"><l/>"""


def test_ok__elements_by_local_name() -> None:
    root = parse_markup(b'<?xml version="1.0"?>\n<r xmlns:s="urn:x"><s:One> a </s:One><two>b&amp;c</two></r>')
    assert root.name == "r"
    assert root.value("one") == "a"
    assert root.value("two") == "b&c"
    assert root.value("three") == ""
    assert [element.name for element in root.walk()] == ["r", "One", "two"]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_ok__text_in_either_encoding_whatever_is_claimed(encoding: str) -> None:
    document = '<?xml version="1.0" encoding="utf-16"?><r>Büro</r>'.encode(encoding)
    assert parse_markup(document).text == "Büro"


def test_ok__space_and_byte_order_mark_before_the_document() -> None:
    assert parse_markup(b"\xef\xbb\xbf\r\n<?xml version='1.0'?><r/>").name == "r"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (LAUGHS, DecodeReason.UNEXPECTED),
        (OUTSIDE, DecodeReason.UNEXPECTED),
        (b"<r>&unknown;</r>", DecodeReason.BAD_TEXT),
        (b"<r>", DecodeReason.BAD_TEXT),
        (b"<r>\0</r>", DecodeReason.BAD_TEXT),
        (b"", DecodeReason.BAD_TEXT),
        (b"<r/>" * 2, DecodeReason.BAD_TEXT),
        (b"<r>" * (MAX_DEPTH + 1), DecodeReason.TOO_LONG),
        (b"<r>" + b"<a/>" * MAX_ELEMENTS + b"</r>", DecodeReason.TOO_LONG),
        (b" " * (MAX_SIZE + 1), DecodeReason.TOO_LONG),
    ],
)
def test_fail__hostile_documents(data: bytes, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_markup(data)
    assert caught.value.reason == reason
