from __future__ import annotations

import pytest

from appliance.types.location import Location, distance_km

BERLIN = Location("Germany", "DE", "Berlin", "BER", 52.52, 13.40)
PARIS = Location(country_code="FR", city="Paris", latitude=48.86, longitude=2.35)


def test_ok__distance() -> None:
    assert distance_km(BERLIN, PARIS) == pytest.approx(877, abs=5)
    assert distance_km(BERLIN, BERLIN) == 0
    assert distance_km(Location(latitude=0, longitude=180), Location(latitude=0, longitude=-1)) == pytest.approx(
        19904, abs=5
    )
    assert distance_km(BERLIN, Location()) is None


def test_ok__text() -> None:
    assert [str(each) for each in (BERLIN, PARIS, Location())] == ["Berlin, Germany", "Paris, FR", ""]
