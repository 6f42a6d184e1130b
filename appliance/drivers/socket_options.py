"""Numbers of the kernel that Python's `socket` does not know: ip(7), udp(7), socket(7), netlink(7)."""

from __future__ import annotations

import errno
import struct

SO_ATTACH_FILTER = 26
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
NETLINK_NETFILTER = 12
SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104
MAX_SEGMENTS = 64
"""In one call with UDP_SEGMENT."""
MAX_DATAGRAM = 65535
ENOUGH_BYTES = 4 * MAX_DATAGRAM
"""To be read before it is worked on: more would leave the processor's cache in between. What waits is read next."""
IP_PKTINFO, IPV6_PKTINFO = 8, 50
PKTINFO = struct.Struct("=I4s4s")
"""Interface, source to send from, destination that it came to."""
FULL = (errno.EAGAIN, errno.ENOBUFS)
"""Whatever a packet was to go into has no room: it is dropped."""
