"""Values as people read them, on every page."""

from __future__ import annotations

from datetime import timedelta

_SPANS = ((86400, "day"), (3600, "hour"), (60, "minute"))


def span(length: timedelta) -> str:
    """ "2 days", "1 hour", "5 minutes", "moments"."""
    for unit_s, word in _SPANS:
        count = int(length.total_seconds() // unit_s)
        if count > 0:
            return f"{count} {word}{'' if count == 1 else 's'}"
    return "moments"
