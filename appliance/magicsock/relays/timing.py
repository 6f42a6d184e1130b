"""Intervals and limits of the relay manager, in seconds (magicsock-disco spec 3.2, 5.2, 5.5)."""

from __future__ import annotations

MIN_CAPABILITY_VERSION = 121
"""Relays, and peers reached through them, speak the protocol from here on."""
DISCOVERY_INTERVAL = 30.0
"""Minimum between two discoveries for a peer."""
UPGRADE_INTERVAL = 60.0
"""The same while a trusted relay path works."""
ALLOCATION_RETRY = 3.0
ALLOCATION_LIMIT = 10.0
HANDSHAKE_LIMIT = 30.0
HANDSHAKE_RETRIES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Own: what is lost is sent again so long after each other, while the deadline allows."""
MAX_PINGS = 10
"""Pings of one handshake."""
MAX_ADDRESSES = 16
"""Own: addresses of one relay that are tried; a peer that lies cannot have us send more."""
MAX_HANDSHAKES = 8
"""Own: handshakes at once toward one peer; a further relay has to wait for the next discovery."""
ASK_RATE = 10.0
"""Own: allocations a second that one peer may ask of this node."""
ASK_BURST = 200.0
MAX_ASKING_PEERS = 4096
