"""Whether two sites with one NAT each can meet directly, worked out from the table of magicsock-disco spec 4.1.

The check of the oracle by other means.

A pings the port that B's STUN query showed; B answers from the mapping it has toward A; then the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.sim.nat import Filtering, Mapping


@dataclass(frozen=True)
class Side:
    """The NATs of a site as one: the most restrictive property of the chain."""

    mapping: Mapping
    filtering: Filtering
    blocks_udp: bool = False

    @property
    def stable(self) -> bool:
        """One external port for every destination."""
        return self.mapping is Mapping.ENDPOINT_INDEPENDENT


PUBLIC = Side(Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT)


def _proves(a: Side, b: Side) -> bool:
    """Whether a's ping to b's known address is answered."""
    match b.filtering:
        case Filtering.ENDPOINT_INDEPENDENT:
            arrives = True
        case Filtering.ADDRESS_DEPENDENT:
            arrives = b.stable
        case Filtering.ADDRESS_AND_PORT_DEPENDENT:
            arrives = b.stable and a.stable
    return arrives and (a.filtering < Filtering.ADDRESS_AND_PORT_DEPENDENT or b.stable)


def _follows(a: Side, b: Side) -> bool:
    """Whether b, pinged by a, can prove the way back with a ping of its own."""
    same_port = a.mapping is not Mapping.ADDRESS_AND_PORT_DEPENDENT or b.stable
    return b.filtering < Filtering.ADDRESS_AND_PORT_DEPENDENT or same_port


def direct_possible(a: Side, b: Side) -> bool:
    if a.blocks_udp or b.blocks_udp:
        return False
    a_proves, b_proves = _proves(a, b), _proves(b, a)
    return (a_proves and (b_proves or _follows(a, b))) or (b_proves and (a_proves or _follows(b, a)))
