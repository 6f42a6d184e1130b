"""Pure: networks of the site that the mesh knows by other addresses, host by host, written `INSIDE as OUTSIDE`."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api import PrefixTranslation
from appliance.types.addresses import known_prefix
from appliance.types.translated import example_label, pair_text
from plugins.subnet_router.errors import RouteSettingError
from plugins.subnet_router.rules import advertisable

KEY = "translate"
MAX_TRANSLATIONS = 100
_MEND = "write it like '192.168.1.0/24 as 10.7.1.0/24'"


def parse_translations(texts: Sequence[str]) -> tuple[PrefixTranslation, ...]:
    """Raises `RouteSettingError` naming the entry."""
    found: list[PrefixTranslation] = []
    for index, text in enumerate(texts):
        made = _parse(index, text)
        for other in found:
            if _collide(made, other):
                mend = "give each network, inside and outside, once"
                raise RouteSettingError(index, f"{text!r} overlaps another entry", key=KEY, mend=mend)
        found.append(made)
    return tuple(found)


def translation_text(each: PrefixTranslation) -> str:
    return pair_text(each.inside, each.outside)


def example_host(each: PrefixTranslation, router: str) -> str:
    """How the mesh names the first host; `router` is this node's name."""
    return example_label(known_prefix(each.inside), router.partition(".")[0])


def _parse(index: int, text: str) -> PrefixTranslation:
    words = text.split()
    if len(words) != 3 or words[1] != "as":
        raise RouteSettingError(index, f"{text[:64]!r} is no pair of networks", key=KEY, mend=_MEND)
    inside, outside = (advertisable(index, words[at], key=KEY) for at in (0, 2))
    if (inside.version, inside.prefixlen) != (outside.version, outside.prefixlen):
        mend = "give two prefixes of one IP version and one length"
        raise RouteSettingError(index, f"{inside} and {outside} do not match", key=KEY, mend=mend)
    if inside.overlaps(outside):
        mend = "choose an outer network that no site uses"
        raise RouteSettingError(index, f"{inside} and {outside} overlap", key=KEY, mend=mend)
    return PrefixTranslation(str(inside), str(outside))


def _collide(one: PrefixTranslation, two: PrefixTranslation) -> bool:
    pairs = [(known_prefix(a), known_prefix(b)) for a in (one.inside, one.outside) for b in (two.inside, two.outside)]
    return any(a.overlaps(b) for a, b in pairs)
