"""A packet as a TUN device gives and takes it."""

from __future__ import annotations

from typing import NamedTuple

Buffer = bytes | bytearray | memoryview
GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4 = 1, 4, 5
GSO_ECN = 0x80
"""Kinds of super-packets, and a flag beside them (virtio 1.2, 5.1.6)."""


class TunPacket(NamedTuple):
    """One IP packet of a TUN device, possibly a super-packet to be cut (`gso_size` > 0: payload bytes of each).

    The fields after `data` are those of virtio_net_hdr (virtio 1.2, 5.1.6); all 0 for a plain packet.
    """

    data: Buffer
    gso_type: int = 0
    gso_size: int = 0
    header_bytes: int = 0
    csum_start: int = 0
    csum_offset: int = 0
    needs_checksum: bool = False
