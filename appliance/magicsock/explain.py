"""Why a peer's path is the one it is, in words for people. Pure: everything is in the values given."""

from __future__ import annotations

from appliance.magicsock.scoring import ProvenPath, address_points, better
from appliance.types.events import PathKind

TOO_OLD_S = 11.0
"""A pong older than this is no answer of now."""


def candidate_words(
    path: ProvenPath | None, best: ProvenPath | None, pong_age_s: float | None, ping_age_s: float | None
) -> str:
    """Why one address is used or not. `path` None: it never answered. Ages in seconds, None: never."""
    if path is None or pong_age_s is None:
        return "not tried yet" if ping_age_s is None else "no answer"
    if best is None:
        return "answered, but not lately enough to be trusted"
    if best.same_address(path):
        return "in use"
    if pong_age_s > TOO_OLD_S and ping_age_s is not None and ping_age_s < pong_age_s:
        return "answered before, not to the last ping"
    return _compared(path, best)


def _compared(path: ProvenPath, best: ProvenPath) -> str:
    if path.direct != best.direct:
        return "direct, will be taken" if path.direct else "a relay, and a direct address answers"
    if path.loss > best.loss:
        return f"loses {path.loss:.0%} of pings"
    slower_ms = (path.latency_s - best.latency_s) * 1000
    if better(best, path):
        nearer = address_points(best.addr_port.ip) > address_points(path.addr_port.ip)
        if nearer and slower_ms <= 0:
            return "the one in use is nearer by its kind (LAN, IPv6)"
        return f"{slower_ms:.1f} ms slower" if slower_ms > 0 else f"the one in use loses less than {path.loss:.0%}"
    if slower_ms < 0:
        return f"{-slower_ms:.1f} ms faster, too little to move"
    return "as good, nothing gained by a move"


def path_words(kind: PathKind, *, answering: int, known: int, relay: str) -> str:
    """Why the peer's packets take this kind of path. `relay`: the region that reaches it, "" when none does."""
    match kind:
        case PathKind.DIRECT:
            others = answering - 1
            if others < 1:
                return f"the only one of {known} known addresses that answers" if known > 1 else "its address answers"
            return f"the best of {answering} addresses that answer"
        case PathKind.PEER_RELAY:
            return "no direct address answers; a peer relay does"
        case PathKind.DERP if not known:
            return "the peer has told no address yet"
        case PathKind.DERP if answering:
            return "an address answered, but not lately; it is being tried again"
        case PathKind.DERP:
            return f"none of {known} known addresses answers"
    return f"idle; the next packet goes by {relay} at once" if relay else "idle, and no relay is known for the peer"
