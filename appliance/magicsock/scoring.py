"""Which of two proven paths is better (magicsock-disco spec 3.9). Not of the spec: loss counts as latency."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from appliance.magicsock.loss import LOSS_COST_S
from appliance.types.addresses import AddrPort

DEFAULT_WIRE_MTU = 1360
"""What an unpadded ping proves (3.10)."""

MIN_GAIN = 0.9
MIN_GAIN_BY_LOSS = 0.75
"""Loss is estimated from few pings: a move for its sake needs a clearer gain."""
MIN_GAIN_SOON = 0.75
"""Own: shortly after a move only a clear gain brings the next one, else two jittery ways take turns."""

PRIVATE_V4 = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
PRIVATE_V6 = IPv6Network("fc00::/7")
_LOOPBACK_POINTS = 50
_LINK_LOCAL_POINTS = 30
_PRIVATE_POINTS = 20
_V6_POINTS = 10


@dataclass(frozen=True, slots=True)
class ProvenPath:
    """An address that answered a ping. `vni` is set when a peer relay stands at the address. `loss`: share of pings.

    `socket`: the side socket by which it is reached, 0 = the WireGuard port.
    """

    addr_port: AddrPort
    latency_s: float
    wire_mtu: int = DEFAULT_WIRE_MTU
    vni: int | None = None
    loss: float = 0.0
    socket: int = 0

    @property
    def cost_s(self) -> float:
        """Latency with what loss adds to it."""
        return self.latency_s + self.loss * LOSS_COST_S

    @property
    def direct(self) -> bool:
        return self.vni is None

    def same_address(self, other: ProvenPath) -> bool:
        return (self.addr_port, self.vni, self.socket) == (other.addr_port, other.vni, other.socket)


@lru_cache(maxsize=4096)
def address_points(ip: str) -> int:
    """Points of the address alone: nearness by its kind, and a little for IPv6."""
    address = ip_address(ip)
    points = _V6_POINTS if address.version == 6 else 0
    if address.is_loopback:
        return points + _LOOPBACK_POINTS
    if address.is_link_local:
        return points + _LINK_LOCAL_POINTS
    private = address in PRIVATE_V6 if address.version == 6 else any(address in network for network in PRIVATE_V4)
    return points + (_PRIVATE_POINTS if private else 0)


def latency_points(a_ns: int, b_ns: int) -> tuple[int, int]:
    """Points of a and b for their latencies, at most one of them above 0."""
    if a_ns > b_ns:
        return 0, 100 - 100 * b_ns // a_ns
    if b_ns > 0:
        return 100 - 100 * a_ns // b_ns, 0
    return 0, 0


def better(a: ProvenPath | None, b: ProvenPath | None) -> bool:
    """Whether `a` should replace `b`; a tie or a small gain says no."""
    if a is not None and b is not None and a.same_address(b):
        return a.wire_mtu > b.wire_mtu
    if b is None:
        return True
    if a is None:
        return False
    if a.direct != b.direct:
        return a.direct
    pa, pb = latency_points(round(a.cost_s * 1e9), round(b.cost_s * 1e9))
    pa += address_points(a.addr_port.ip)
    pb += address_points(b.addr_port.ip)
    if pa <= 1 and pb == 0:
        return False
    return pa > pb


def worth_a_move(path: ProvenPath, best: ProvenPath | None, *, moved_lately: bool = False) -> bool:
    """`better`, except that a working path is not left for a like address that is less than a tenth faster.

    Not of the spec: a peer behind an open NAT shows several ports that differ by jitter alone. Who has `moved_lately`
    needs a quarter.
    """
    if best is None or not better(path, best):
        return best is None
    if (path.loss or best.loss) and path.cost_s > MIN_GAIN_BY_LOSS * best.cost_s and path.direct == best.direct:
        return False
    needed = MIN_GAIN_SOON if moved_lately else MIN_GAIN
    alike = path.direct == best.direct and address_points(path.addr_port.ip) == address_points(best.addr_port.ip)
    return not alike or path.same_address(best) or path.cost_s < needed * best.cost_s
