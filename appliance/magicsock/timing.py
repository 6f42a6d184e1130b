"""Intervals and limits of path finding, in seconds unless the name says otherwise (magicsock-disco spec 3.2).

Those marked "own" have no counterpart in the spec: they make fail-over quicker (design 4) and keep state bounded.
"""

from __future__ import annotations

NEVER = float("-inf")
"""When something was done that was not done yet."""
SLACK = 1e-6
"""Timers fire a hair early on some clocks; intervals are compared with this much slack."""

HEARTBEAT_INTERVAL = 3.0
SESSION_ACTIVE_TIMEOUT = 45.0
TRUST_DURATION = 6.5
PING_TIMEOUT = 5.0
DISCOVERY_INTERVAL = 5.0
"""Minimum between two discovery pings to one candidate."""
UPGRADE_INTERVAL = 60.0
"""Full ping although a direct path works, only when its latency exceeds `GOOD_ENOUGH_LATENCY`."""
GOOD_ENOUGH_LATENCY = 0.005
ENDPOINTS_FRESH = 27.0
RESTUN_MIN = 20.0
RESTUN_MAX = 26.0
ENDPOINT_CACHE = 310.0
ENDPOINTS_PER_IP = 6
RUNTIME_CANDIDATE_EXPIRY = 45.0
REBIND_INTERVAL = 5.0
"""Minimum between two rebinds that send errors ask for (3.3)."""

EARLY_RETRIES = (0.7, 1.3, 3.0)
"""Own: a search starts with pings so long after each other, because first ones die at NATs that are not open yet."""

MAX_CANDIDATES = 100
MAX_PONGS = 64
"""Pongs remembered per candidate (3.1)."""
MAX_CALL_ME_MAYBE_ENDPOINTS = 512
MAX_SENT_PINGS = 1024
"""Own: pending pings of one peer; the oldest is given up first."""
MAX_SEEN_PINGS = 256
"""Own: transaction ids of a peer's pings remembered against replay."""
CALL_ME_MAYBE_RATE = 1.0
"""Accepted call-me-maybe messages a second and peer (3.6)."""
CALL_ME_MAYBE_BURST = 3.0
TELL_RATE = 0.1
"""Own: disco keys a second that a peer may tell of itself; each makes us ping all its addresses."""
TELL_BURST = 4.0
PING_RATE = 200.0
"""Own: answered pings a second and peer."""
PING_BURST = 400.0

SILENCE = 1.0
"""Own: sending, and nothing arrives for so long: probe quickly. Also the answer time of a heartbeat."""
QUICK_INTERVAL = 0.25
QUICK_MISSES = 3
QUICK_GAP = 1.0
"""Own: minimum between two quick probings that the same kind of doubt starts."""
MOVE_CALM = 30.0
"""Own: for so long after a move from one address to another the next one needs a clear gain."""
PING_BACK_INTERVAL = 1.0
"""Own: minimum between two answering pings to a candidate that pinged us while we have no proven path."""
CALL_ME_MAYBE_WAIT = 1.0
"""Own: a call-me-maybe waits so long for fresh STUN results, then goes with what is known."""
ENDPOINTS_DOUBTFUL = 5.0
"""Own: endpoints older than this are measured anew when a proven path has died."""
ENDPOINTS_WAIT = 0.5
"""Own: the first set of own endpoints waits so long for a STUN answer."""
