"""Pure: values as people read them. Numbers have few digits, times say how long ago."""

from __future__ import annotations

from datetime import datetime

from appliance.api import PeerPath
from appliance.pages.words import span
from appliance.types.events import PathKind

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


ABBREVIATIONS = {"snat": "SNAT", "stun": "STUN", "lan": "LAN", "os": "OS", "ca": "CA", "ipv4": "IPv4"}
"""Parts of settings' names that are no words."""


def size(count: int) -> str:
    """Bytes: "0 B", "1.5 KiB", "320 MiB"."""
    value, place = float(count), 0
    while value >= 999.5 and place < len(_SIZES) - 1:
        value /= 1024
        place += 1
    digits = 1 if place and value < 9.95 else 0
    return f"{value:.{digits}f} {_SIZES[place]}"


def latency(seconds: float) -> str:
    """ "0.4 ms", "23 ms"; "" when unknown (0)."""
    milliseconds = seconds * 1000
    if milliseconds <= 0:
        return ""
    return f"{milliseconds:.1f} ms" if milliseconds < 9.95 else f"{milliseconds:.0f} ms"


def ago(moment: datetime, now: datetime) -> str:
    """How long ago, or how far ahead for what is still to come."""
    if moment > now:
        return f"in {span(moment - now)}"
    return f"{span(now - moment)} ago"


def iso(moment: datetime) -> str:
    """For `<time datetime>`: RFC 3339, UTC, whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def utc(moment: datetime) -> str:
    """What is shown before the browser puts its local time there."""
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def path_where(path: PeerPath) -> str:
    """The other end of a path: the endpoint of a direct one, the region of one through DERP."""
    return path.region if path.kind is PathKind.DERP else path.endpoint


def first_label(name: str) -> str:
    return name.partition(".")[0]


def rest_of_name(name: str) -> str:
    """What comes behind the first label, with its dot."""
    _, dot, rest = name.partition(".")
    return dot + rest


def setting_label(key: str) -> str:
    """ "accept_only" becomes "Accept only", "location.city_code" "Location: city code"."""
    words = key.replace(".", ": ").split("_")
    return sentence(" ".join(ABBREVIATIONS.get(word, word) for word in words))


def sentence(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]
