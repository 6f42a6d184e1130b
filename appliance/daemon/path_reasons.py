"""Why a peer's path is what it is, in the words of the local API."""

from __future__ import annotations

from appliance.localapi.schema import PathCandidate, PathReasons
from appliance.magicsock.status import CandidateStatus, PathStatus

MAX_SHOWN = 32
"""Addresses shown of one peer: a peer may have told hundreds."""


def reasons_of(status: PathStatus) -> PathReasons:
    """The one in use first, then those that answer, the fastest first, then the rest."""
    ordered = sorted(status.candidates, key=_rank)[:MAX_SHOWN]
    return PathReasons(
        why=status.why,
        relay_latency_s=status.derp_latency_s or 0.0,
        survives_s=status.survives_s,
        candidates=tuple(_shown(candidate) for candidate in ordered),
    )


def _rank(candidate: CandidateStatus) -> tuple[bool, bool, float, str]:
    latency_s = candidate.latency_s
    return (not candidate.best, latency_s is None, latency_s or 0.0, str(candidate.endpoint))


def _shown(candidate: CandidateStatus) -> PathCandidate:
    return PathCandidate(
        endpoint=str(candidate.endpoint),
        sources=candidate.sources,
        in_use=candidate.best,
        latency_s=candidate.latency_s or 0.0,
        loss=candidate.loss,
        mtu=candidate.mtu,
        why=candidate.why,
    )
