"""A peer's path machine seen from outside: what the engine is told, and what people are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.magicsock.candidates import Candidate
from appliance.magicsock.explain import TOO_OLD_S, candidate_words, path_words
from appliance.magicsock.scoring import ProvenPath, address_points
from appliance.magicsock.status import CandidateStatus, PathStatus
from appliance.magicsock.timing import NEVER
from appliance.ports.underlay import PARKED, PeerPath
from appliance.types.addresses import AddrPort
from appliance.types.events import PathChanged, PathKind

if TYPE_CHECKING:
    from appliance.magicsock.peer import PeerPaths


def static_path(peer: PeerPaths) -> AddrPort | None:
    """WireGuard-only peers have no disco: their first endpoint is used as it is."""
    node = peer.node
    return node.endpoints[0] if node.wireguard_only and node.disco_key is None and node.endpoints else None


def engine_path(peer: PeerPaths, now: float) -> PeerPath:
    """Where packets go: DERP while nothing is proven, mirrored while the proof is old, else direct only (3.3)."""
    if peer.node.expired or not peer.active(now):
        return PARKED
    if not peer.usable:
        static = static_path(peer)
        return PARKED if static is None else PeerPath(direct=static)
    relay = bool(peer.relay_region)
    if peer.best is None:
        return PeerPath(relay=True) if relay else PARKED
    if peer.best.socket:
        return PeerPath(relay=True)  # the driver sends by the side socket
    return PeerPath(peer.best.addr_port, relay and not peer.belief.sure(now), peer.best.vni)


def path_kind(peer: PeerPaths, now: float) -> PathKind:
    if peer.node.expired or not peer.active(now):
        return PathKind.NONE
    if peer.best is not None and (peer.trusted(now) or not peer.relay_region):
        return PathKind.DIRECT if peer.best.direct else PathKind.PEER_RELAY
    if static_path(peer) is not None:
        return PathKind.DIRECT
    return PathKind.DERP if peer.usable and peer.relay_region else PathKind.NONE


def _endpoint(peer: PeerPaths, kind: PathKind) -> AddrPort | None:
    if kind not in (PathKind.DIRECT, PathKind.PEER_RELAY):
        return None
    return peer.best.addr_port if peer.best is not None else static_path(peer)


def _latency(peer: PeerPaths, kind: PathKind) -> float | None:
    if kind == PathKind.DERP:
        return peer.derp_latency_s
    return peer.best.latency_s if peer.best is not None and kind != PathKind.NONE else None


def path_shown(peer: PeerPaths, now: float) -> PathChanged:
    """The path as an event says it."""
    kind = path_kind(peer, now)
    region = peer.relay_region if kind == PathKind.DERP else None
    return PathChanged(peer.node.key, kind, _endpoint(peer, kind), region, _latency(peer, kind) or 0.0)


def same_path(a: PathChanged, b: PathChanged) -> bool:
    """Whether nothing but the latency differs."""
    return (a.kind, a.endpoint, a.region) == (b.kind, b.endpoint, b.region)


def path_status(peer: PeerPaths, now: float) -> PathStatus:
    """Everything that explains the choice."""
    kind = path_kind(peer, now)
    best = peer.best if kind in (PathKind.DIRECT, PathKind.PEER_RELAY) else None
    candidates = tuple(_candidate_status(candidate, best, now) for candidate in peer.candidates)
    answering = sum(1 for each in candidates if each.pong_age_s is not None and each.pong_age_s <= TOO_OLD_S)
    relay = "DERP" if peer.relay_region else ""
    return PathStatus(
        peer=peer.node.key,
        kind=kind,
        active=peer.active(now),
        endpoint=_endpoint(peer, kind),
        region=peer.relay_region or None,
        latency_s=_latency(peer, kind),
        derp_latency_s=peer.derp_latency_s,
        mtu=next((each.mtu for each in candidates if each.best), None),
        survives_s=peer.idle.survives_s if peer.best is not None and peer.best.direct else None,
        trusted_for_s=max(0.0, peer.belief.trust_until - now) if peer.best is not None else 0.0,
        candidates=candidates,
        why="its login has expired"
        if peer.node.expired
        else path_words(kind, answering=answering, known=len(candidates), relay=relay),
    )


def _candidate_status(candidate: Candidate, best: ProvenPath | None, now: float) -> CandidateStatus:
    last = candidate.pongs[-1] if candidate.pongs else None
    loss = candidate.loss.share
    path = ProvenPath(candidate.addr_port, last.latency_s, loss=loss or 0.0) if last else None
    pong_age_s = now - last.at if last else None
    ping_age_s = now - candidate.last_ping if candidate.last_ping != NEVER else None
    return CandidateStatus(
        endpoint=candidate.addr_port,
        sources=candidate.sources,
        points=address_points(candidate.addr_port.ip),
        best=best is not None and best.direct and best.addr_port == candidate.addr_port,
        latency_s=last.latency_s if last else None,
        pong_age_s=pong_age_s,
        ping_age_s=ping_age_s,
        loss=loss,
        mtu=candidate.mtu.known,
        why=candidate_words(path, best, pong_age_s, ping_age_s),
    )
