"""Numbers of the kernel that Python's `socket` does not know: ip(7), udp(7), socket(7)."""

from __future__ import annotations

import errno
import struct

SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104
MAX_SEGMENTS = 64
"""In one call with UDP_SEGMENT."""
MAX_DATAGRAM = 65535
IP_PKTINFO = 8
PKTINFO = struct.Struct("=I4s4s")
"""Interface, source to send from, destination that it came to."""
FULL = (errno.EAGAIN, errno.ENOBUFS)
"""Whatever a packet was to go into has no room: it is dropped."""
