from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from appliance.api import PeerPath
from appliance.types.events import PathKind
from plugins.status_page import words

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1536, "1.5 KiB"), (10 * 1024, "10 KiB"), (1 << 30, "1.0 GiB")],
)
def test_ok__size(count: int, text: str) -> None:
    assert words.size(count) == text


def test_ok__largest_size_has_a_unit() -> None:
    assert words.size(1 << 80).endswith(" PiB")


@pytest.mark.parametrize(("seconds", "text"), [(0.0, ""), (0.0004, "0.4 ms"), (0.0123, "12 ms"), (1.5, "1500 ms")])
def test_ok__latency(seconds: float, text: str) -> None:
    assert words.latency(seconds) == text


@pytest.mark.parametrize(
    ("offset", "text"),
    [
        (timedelta(seconds=-3), "moments ago"),
        (timedelta(seconds=-60), "1 minute ago"),
        (timedelta(hours=-5), "5 hours ago"),
        (timedelta(days=12), "in 12 days"),
    ],
)
def test_ok__ago(offset: timedelta, text: str) -> None:
    assert words.ago(NOW + offset, NOW) == text


def test_ok__path_where() -> None:
    assert words.path_where(PeerPath(PathKind.DERP, region="fra")) == "fra"
    assert words.path_where(PeerPath(PathKind.DIRECT, endpoint="192.0.2.1:1")) == "192.0.2.1:1"


def test_ok__names() -> None:
    assert (words.first_label("a.b.c"), words.rest_of_name("a.b.c")) == ("a", ".b.c")
    assert (words.first_label("a"), words.rest_of_name("a")) == ("a", "")
    assert words.sentence("the end") == "The end"


def test_ok__settings_have_labels() -> None:
    assert words.setting_label("advertise_routes") == "Advertise routes"
    assert words.setting_label("location.city_code") == "Location: city code"
    assert words.setting_label("ipv4_only") == "IPv4 only"
    assert words.setting_label("snat") == "SNAT"
