"""The tables of RFC 7915 sections 4.2 and 5.2, line by line."""

from __future__ import annotations

import pytest

from appliance.proto.siit.icmp import Error, error_to_v4, error_to_v6


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *((Error(3, code), Error(1, 0)) for code in (0, 1, 5, 6, 7, 8, 11, 12)),
        *((Error(3, code), Error(1, 1)) for code in (9, 10, 13, 15)),
        (Error(3, 2), Error(4, 1, 6)),
        (Error(3, 3), Error(1, 4)),
        (Error(3, 14), None),
        (Error(3, 99), None),
        (Error(3, 4, 1300), Error(2, 0, 1320)),
        (Error(3, 4, 1480), Error(2, 0, 1400)),
        (Error(3, 4, 576), Error(2, 0, 1280)),
        (Error(3, 4, 0), Error(2, 0, 1280)),
        (Error(11, 0), Error(3, 0)),
        (Error(11, 1), Error(3, 1)),
        (Error(12, 0, 8 << 24), Error(4, 0, 7)),
        (Error(12, 2, 9 << 24), Error(4, 0, 6)),
        (Error(12, 0, 16 << 24), Error(4, 0, 24)),
        (Error(12, 0, 10 << 24), None),
        (Error(12, 1), None),
        (Error(5, 0), None),
    ],
)
def test_ok__to_v6(old: Error, new: Error | None) -> None:
    assert error_to_v6(old, 1260, 1400) == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (Error(1, 0), Error(3, 1)),
        (Error(1, 1), Error(3, 10)),
        (Error(1, 2), Error(3, 1)),
        (Error(1, 3), Error(3, 1)),
        (Error(1, 4), Error(3, 3)),
        (Error(1, 5), None),
        (Error(2, 0, 1400), Error(3, 4, 1380)),
        (Error(2, 0, 9000), Error(3, 4, 1380)),
        (Error(2, 0, 100), Error(3, 4, 1260)),
        (Error(3, 1), Error(11, 1)),
        (Error(4, 1, 6), Error(3, 2)),
        (Error(4, 0, 7), Error(12, 0, 8 << 24)),
        (Error(4, 0, 23), Error(12, 0, 12 << 24)),
        (Error(4, 0, 39), Error(12, 0, 16 << 24)),
        (Error(4, 0, 40), None),
        (Error(4, 2), None),
        (Error(135, 0), None),
    ],
)
def test_ok__to_v4(old: Error, new: Error | None) -> None:
    assert error_to_v4(old, 1400) == new
