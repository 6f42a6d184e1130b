"""Pure: whether this router serves a LAN now, from what is seen of it. It leaves fast and comes back slowly.

A LAN is left when its port has no link or its probes are silent at `MISSES` looks in a row, which are not closer
together than `SETTLED_S`: an address may be replaced meanwhile. It is served again when all was well for a while; the
while doubles with every loss, so that a cable with a bad contact does not move the whole site's traffic back and forth,
and shrinks again after `CALM_S` without a loss.
"""

from __future__ import annotations

from dataclasses import dataclass

MISSES = 2
SETTLED_S = 0.25
FIRST_HOLD_S = 10.0
LONGEST_HOLD_S = 300.0
CALM_S = 600.0


@dataclass(slots=True)
class _Lan:
    is_served: bool = True
    misses: int = 0
    bad_since: float | None = None
    good_since: float | None = None
    lost_at: float | None = None
    hold_s: float = FIRST_HOLD_S
    reason: str = ""


class LanGate:
    """Knows every LAN that it was told of; one that it never heard of is served."""

    def __init__(self) -> None:
        self._lans: dict[str, _Lan] = {}

    def observe(self, prefix: str, now: float, *, link: str = "", probe: str = "") -> bool:
        """Take one look in. `link` and `probe` say what is wrong, "" = good. Whether the LAN is served changed."""
        lan = self._lans.setdefault(prefix, _Lan())
        if not link and not probe:
            return self._good(lan, now)
        lan.good_since = None
        lan.bad_since = now if lan.bad_since is None else lan.bad_since
        lan.misses += 1
        if lan.misses < MISSES or now - lan.bad_since < SETTLED_S or not lan.is_served:
            lan.reason = lan.reason and (link or probe)
            return False
        self._lose(lan, now, link or probe)
        return True

    def keep(self, prefixes: frozenset[str]) -> None:
        """Forget LANs that are not offered any more."""
        for prefix in self._lans.keys() - prefixes:
            del self._lans[prefix]

    def lost(self) -> dict[str, str]:
        """LANs that are not served now, with the reason."""
        return {prefix: lan.reason for prefix, lan in self._lans.items() if not lan.is_served}

    def _good(self, lan: _Lan, now: float) -> bool:
        lan.misses, lan.bad_since = 0, None
        lan.good_since = now if lan.good_since is None else lan.good_since
        if lan.is_served or now - lan.good_since < lan.hold_s:
            return False
        lan.is_served, lan.reason = True, ""
        return True

    def _lose(self, lan: _Lan, now: float, reason: str) -> None:
        calm = lan.lost_at is None or now - lan.lost_at >= CALM_S
        lan.hold_s = FIRST_HOLD_S if calm else min(lan.hold_s * 2, LONGEST_HOLD_S)
        lan.is_served, lan.lost_at, lan.reason = False, now, reason
