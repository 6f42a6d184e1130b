"""Who may see the server's status page: one-time codes from the command line, sessions opened by them.

A code is eight letters of Crockford's base 32, lives ten minutes and works once. Nothing is kept over a restart, and
everything is bounded. The page is read-only, so a session holds the permission to read and no other.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import OrderedDict, deque
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from control.service.actor import Actor, Permission
from control.service.errors import ServiceError
from control.state.records import Role

if TYPE_CHECKING:
    from control.service.core import Core

PAGE_READER = Actor("page", Role.AUDITOR)
"""Whoever looks at the page."""
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_LETTERS = 8
CODE_LIFE = timedelta(minutes=10)
SESSION_LIFE = timedelta(hours=12)
MAX_CODES = 8
MAX_SESSIONS = 32
MAX_TRIES = 5
"""Wrong codes of one address within the window."""
MAX_ALL_TRIES = 60
TRY_WINDOW_S = 60.0
MAX_SOURCES = 256
_LOOKALIKES = str.maketrans("OIL", "011", " -\t\r\n")


class WrongCodeError(ServiceError):
    """A one-time code is wrong, used or too old."""

    code = "page-code-refused"
    status = 403


class TooManyTriesError(ServiceError):
    """Wrong codes came too fast. `wait_s`: seconds until the next try counts."""

    code = "page-too-many-tries"
    status = 429

    def __init__(self, wait_s: int) -> None:
        super().__init__("too many wrong codes", mend=f"try again in {wait_s} seconds")
        self.wait_s = wait_s


class PageAccess:
    """Times are monotonic; sources are addresses as text."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._codes: OrderedDict[bytes, float] = OrderedDict()
        self._sessions: OrderedDict[bytes, float] = OrderedDict()
        self._tries: OrderedDict[str, deque[float]] = OrderedDict()
        self._all_tries: deque[float] = deque(maxlen=MAX_ALL_TRIES)
        self.counters = {"wrong_codes": 0, "refused_requests": 0}

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"{self._core.settings.url.rstrip('/')}/status"

    def issue(self, actor: Actor) -> str:
        """A new code "ABCD-EFGH"; of too many the oldest ends."""
        actor.require(Permission.READ)
        number = int.from_bytes(self._core.randomness.bytes(5), "big")
        letters = "".join(ALPHABET[number >> 5 * place & 31] for place in range(CODE_LETTERS))
        self._codes[_digest(letters)] = self._core.clock.now() + CODE_LIFE.total_seconds()
        _trim(self._codes, MAX_CODES)
        return f"{letters[:4]}-{letters[4:]}"

    def redeem(self, code: str, source: str) -> str:
        """Trade a code for a session token. Raises `WrongCodeError`, `TooManyTriesError`."""
        now = self._core.clock.now()
        tries = self._recent_tries(_network(source), now)
        given, found = _digest(code[:64].upper().translate(_LOOKALIKES)), None
        for known in self._codes:  # all of them, so that time tells nothing
            if hmac.compare_digest(known, given):
                found = known
        if found is None or self._codes.pop(found) <= now:
            self.counters["wrong_codes"] += 1
            tries.append(now)
            self._all_tries.append(now)
            mend = "get a new one: waypost-control page"
            raise WrongCodeError("this code is wrong, was used already or is too old", mend=mend)
        token = self._core.randomness.bytes(32).hex()
        self._sessions[_digest(token)] = now + SESSION_LIFE.total_seconds()
        _trim(self._sessions, MAX_SESSIONS)
        return token

    def is_valid(self, token: str) -> bool:
        """Whether this is the token of a living session."""
        expiry = self._sessions.get(_digest(token))  # of the digest, whose lookup time tells nothing of the token
        return expiry is not None and self._core.clock.now() < expiry

    def end(self, token: str) -> None:
        """Sign out; unknown tokens are ignored."""
        self._sessions.pop(_digest(token), None)

    def _recent_tries(self, source: str, now: float) -> deque[float]:
        tries = self._tries.setdefault(source, deque(maxlen=MAX_TRIES))
        self._tries.move_to_end(source)
        _trim(self._tries, MAX_SOURCES)
        for times, most in ((tries, MAX_TRIES), (self._all_tries, MAX_ALL_TRIES)):
            while times and times[0] <= now - TRY_WINDOW_S:
                times.popleft()
            if len(times) >= most:
                raise TooManyTriesError(max(1, math.ceil(times[0] + TRY_WINDOW_S - now)))
        return tries


def _network(source: str) -> str:
    """What counts as one source: an IPv4 address, or a /64."""
    try:
        address = ip_address(source.partition("%")[0])
    except ValueError:
        return source[:64]
    return str(address) if address.version == 4 else str(ip_network((int(address), 64), strict=False))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _trim(entries: OrderedDict[bytes, float] | OrderedDict[str, deque[float]], most: int) -> None:
    while len(entries) > most:
        entries.popitem(last=False)
