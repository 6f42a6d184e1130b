"""Users' bytes in the counters of the kernel, which count every message (magicsock-disco spec 2.1 has the sizes). Pure.

A data message has 32 bytes of its own and a payload that is a multiple of 16, so what the others add shows in the
remainder: an initiation has 148 bytes (4 more than a multiple of 16), a response 92 (12 more), a keepalive 32.
"""

from __future__ import annotations

INITIATION = 148
RESPONSE = 92
KEEPALIVE = 32
SMALLEST_DATA = 64
"""An IP header without payload fills 20 bytes, padded to 32."""


def user_bytes(delta: int, *, handshake: bool = False) -> int:
    """Bytes of data messages in what was counted; 0 when it was handshakes and a keepalive only.

    `handshake`: one was completed meanwhile, so an initiation and a response may be in one direction's sum.
    """
    rest = delta - {0: 0, 4: INITIATION, 8: 2 * INITIATION, 12: RESPONSE}.get(delta % 16, 0)
    if handshake and delta % 16 == 0 and delta in (INITIATION + RESPONSE, INITIATION + RESPONSE + KEEPALIVE):
        rest = 0
    return rest if rest >= SMALLEST_DATA else 0
