"""Where a node says that it is, as the wire has it (control-protocol spec, Hostinfo)."""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, cos, radians, sin, sqrt

EARTH_RADIUS_KM = 6371.0


@dataclass(frozen=True, slots=True)
class Location:
    """Codes are short ("DE", "BER"); latitude and longitude in degrees, both 0: not said. `priority` ranks places."""

    country: str = ""
    """Its name, such as Germany."""
    country_code: str = ""
    """Such as DE."""
    city: str = ""
    """Its name, such as Berlin."""
    city_code: str = ""
    """Such as BER."""
    latitude: float = 0.0
    """Degrees, to the north positive."""
    longitude: float = 0.0
    """Degrees, to the east positive."""
    priority: int = 0
    """Among exits of one place the highest is taken first."""

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.city or self.city_code, self.country or self.country_code)))

    @property
    def is_placed(self) -> bool:
        return bool(self.latitude or self.longitude)


def distance_km(one: Location, other: Location) -> float | None:
    """Along the ground (haversine, node-os spec 2.3); None where one of them does not say."""
    if not (one.is_placed and other.is_placed):
        return None
    first, second = radians(one.latitude), radians(other.latitude)
    east = radians(other.longitude - one.longitude)
    chord = sin((second - first) / 2) ** 2 + cos(first) * cos(second) * sin(east / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(sqrt(min(1.0, chord)))
