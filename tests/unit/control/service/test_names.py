"""DNS labels from hostnames."""

from __future__ import annotations

import pytest

from control.service.names import is_label, label_from, unique_label


@pytest.mark.parametrize(
    ("hostname", "label"),
    [
        ("gw1", "gw1"),
        ("Alice's MacBook", "alice-s-macbook"),
        ("host.lan.example", "host"),
        ("", "node"),
        ("---", "node"),
        ("büro", "xn--bro-hoa"),
        ("a" * 80, "a" * 63),
        ("日本" * 40, None),
    ],
)
def test_ok__label_from(hostname, label):
    made = label_from(hostname)
    assert is_label(made)
    assert label is None or made == label


def test_ok__unique_label_stays_short():
    taken = {"a" * 63, "a" * 61 + "-1"}
    assert unique_label("a" * 63, taken.__contains__) == "a" * 61 + "-2"
