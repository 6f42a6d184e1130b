"""What the relay's program and the daemon write into maps for each other. Pure.

| Offset | Bytes | Field of a leg | Order |
|---|---|---|---|
| 0 | 16 | the peer's address, IPv4 in the last four bytes | network |
| 16 | 16 | our address toward it, likewise | network |
| 32 | 2 | the peer's port | network |
| 34 | 2 | our port | network |
| 36 | 4 | interface toward it | host |
| 40 | 4 | longest IP packet there | host |
| 44 | 4 | IP version, 4 or 6 | host |
| 48 | 8 | when it sent last, nanoseconds of the monotonic clock | host |
| 56 | 8 | packets that it sent | host |
| 64 | 8 | bytes behind their UDP headers | host |

A pair is two legs, then four numbers of 8 bytes: nanoseconds a byte times 65536 (0: no limit), nanoseconds that may be
used at once, the time up to which the rate is used up, and packets dropped for it. Its key is the VNI, 4 bytes in the
host's order. The lease is one number of 8 bytes: until then, on the monotonic clock, the program forwards.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from appliance.types.addresses import AddrPort

KEY = struct.Struct("=I")
LEASE = struct.Struct("=Q")
_LEG = struct.Struct("=16s16s2s2sIIIQQQ")
_RATE = struct.Struct("=QQQQ")

LEG_SIZE = _LEG.size
PEER, LOCAL, PEER_PORT, LOCAL_PORT = 0, 16, 32, 34
INTERFACE, MTU, VERSION = 36, 40, 44
SEEN, PACKETS, BYTES = 48, 56, 64
"""Offsets within a leg."""
PER_BYTE, BURST, USED_UNTIL, DROPPED = (2 * LEG_SIZE + 8 * number for number in range(4))
"""Offsets within a pair."""
PAIR_SIZE = 2 * LEG_SIZE + _RATE.size
SCALE_BITS = 16
_NS = 1_000_000_000
_LEAST_BURST_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class LegRecord:
    """One side: where packets for it go, from which address of ours, and what came from it."""

    peer: AddrPort
    local: AddrPort
    interface: int
    mtu: int
    seen_ns: int = 0
    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class PairRecord:
    legs: tuple[LegRecord, LegRecord]
    bytes_per_s: int = 0
    """Both ways together; 0 is no limit."""
    dropped: int = 0


def pack_pair(pair: PairRecord) -> bytes:
    """`PAIR_SIZE` bytes."""
    per_byte, burst = _rate(pair.bytes_per_s)
    return b"".join(map(_pack_leg, pair.legs)) + _RATE.pack(per_byte, burst, 0, pair.dropped)


def _rate(bytes_per_s: int) -> tuple[int, int]:
    """As the userspace forwarder has it: a quarter of a second may come at once, or 128 KiB."""
    if not bytes_per_s:
        return 0, 0
    burst = max(bytes_per_s // 4, _LEAST_BURST_BYTES)
    return max(1, (_NS << SCALE_BITS) // bytes_per_s), burst * _NS // bytes_per_s


def _pack_leg(leg: LegRecord) -> bytes:
    version = 6 if leg.peer.is_v6 else 4
    ends = leg.peer.address.packed.rjust(16, b"\0"), leg.local.address.packed.rjust(16, b"\0")
    ports = leg.peer.port.to_bytes(2, "big"), leg.local.port.to_bytes(2, "big")
    return _LEG.pack(*ends, *ports, leg.interface, leg.mtu, version, leg.seen_ns, leg.packets, leg.bytes)


@dataclass(frozen=True, slots=True)
class Counts:
    """What the kernel counted: `seen_ns`, `packets` and `bytes` of each leg."""

    seen_ns: tuple[int, int]
    packets: tuple[int, int]
    bytes: tuple[int, int]
    dropped: int


def parse_counts(record: bytes) -> Counts:
    """Of a pair's `PAIR_SIZE` bytes."""
    first, second = (_LEG.unpack_from(record, at)[7:] for at in (0, LEG_SIZE))
    dropped = _RATE.unpack_from(record, 2 * LEG_SIZE)[3]
    return Counts((first[0], second[0]), (first[1], second[1]), (first[2], second[2]), dropped)
