"""Pure: one-time codes and the sessions that they open. Time and random bytes are arguments.

A code is eight letters of Crockford's base 32 (40 bits), lives ten minutes and works once. Wrong codes are counted per
source and in all, so that guessing is hopeless and one guesser does not lock everybody out for long. Everything is
bounded; nothing is kept over a restart.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import OrderedDict, deque
from ipaddress import ip_address, ip_network

from appliance.types.errors import ApplianceError

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_LETTERS = 8
CODE_RANDOM_BYTES = 5
CODE_LIFE_S = 600.0
MAX_CODES = 8
TOKEN_BYTES = 32
MAX_SESSIONS = 32
TRY_WINDOW_S = 60.0
MAX_TRIES = 5
"""Wrong codes of one source within the window."""
MAX_ALL_TRIES = 60
"""Wrong codes of all sources within the window."""
MAX_SOURCES = 256
_LOOKALIKES = str.maketrans("OIL", "011", " -\t\r\n")


class CodeRefusedError(ApplianceError):
    """A one-time code is wrong, used or too old. `command` prints another."""

    code = "page-code-refused"

    def __init__(self, command: str) -> None:
        super().__init__("this code is wrong, was used already or is too old", mend=f"get a new one: {command}")


class TooManyTriesError(ApplianceError):
    """Wrong codes came too fast. `wait_s`: seconds until the next try counts."""

    code = "page-too-many-tries"

    def __init__(self, wait_s: int) -> None:
        super().__init__("too many wrong codes", mend=f"try again in {wait_s} seconds")
        self.wait_s = wait_s


class SignIn:
    """`session_life_s`: how long a session lasts from sign-in. `command`: what prints a code, for people."""

    def __init__(self, session_life_s: float, command: str) -> None:
        self.session_life_s = session_life_s
        self._command = command
        self._codes: OrderedDict[bytes, float] = OrderedDict()
        self._sessions: OrderedDict[bytes, float] = OrderedDict()
        self._tries: OrderedDict[str, deque[float]] = OrderedDict()
        self._all_tries: deque[float] = deque(maxlen=MAX_ALL_TRIES)
        self.refused = 0
        """Wrong codes since start."""

    def issue(self, random: bytes, now: float) -> str:
        """A new code "ABCD-EFGH" made of `CODE_RANDOM_BYTES` random bytes; of too many the oldest ends."""
        number = int.from_bytes(random[:CODE_RANDOM_BYTES], "big")
        letters = "".join(ALPHABET[number >> 5 * place & 31] for place in range(CODE_LETTERS))
        self._codes[_digest(letters)] = now + CODE_LIFE_S
        _trim(self._codes, MAX_CODES)
        return f"{letters[:4]}-{letters[4:]}"

    def redeem(self, code: str, source: str, random: bytes, now: float) -> str:
        """Trade a code for a session token. `source` is the caller's address; `random` has `TOKEN_BYTES`.

        Raises `TooManyTriesError` and `CodeRefusedError`.
        """
        tries = self._recent_tries(_network(source), now)
        given, found = _digest(normal_code(code)), None
        for known in self._codes:  # all of them, so that time tells nothing
            if hmac.compare_digest(known, given):
                found = known
        if found is None or self._codes.pop(found) <= now:
            self.refused += 1
            tries.append(now)
            self._all_tries.append(now)
            raise CodeRefusedError(self._command)
        token = random.hex()
        self._sessions[_digest(token)] = now + self.session_life_s
        _trim(self._sessions, MAX_SESSIONS)
        return token

    def is_valid(self, token: str, now: float) -> bool:
        """Whether this is the token of a living session."""
        expiry = self._sessions.get(_digest(token))  # of the digest, whose lookup time tells nothing of the token
        return expiry is not None and now < expiry

    def end(self, token: str) -> None:
        """Sign out; unknown tokens are ignored."""
        self._sessions.pop(_digest(token), None)

    def sessions(self, now: float) -> int:
        """Living sessions."""
        return sum(now < expiry for expiry in self._sessions.values())

    def _recent_tries(self, source: str, now: float) -> deque[float]:
        """Wrong tries of the source within the window. Raises `TooManyTriesError` when no more are allowed."""
        tries = self._tries.setdefault(source, deque(maxlen=MAX_TRIES))
        self._tries.move_to_end(source)
        _trim(self._tries, MAX_SOURCES)
        for times, most in ((tries, MAX_TRIES), (self._all_tries, MAX_ALL_TRIES)):
            while times and times[0] <= now - TRY_WINDOW_S:
                times.popleft()
            if len(times) >= most:
                raise TooManyTriesError(max(1, math.ceil(times[0] + TRY_WINDOW_S - now)))
        return tries


def normal_code(text: str) -> str:
    """What was typed, in the letters of the alphabet where it is near to them."""
    return text[:64].upper().translate(_LOOKALIKES)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _network(source: str) -> str:
    """What counts as one source: an IPv4 address, or a /64."""
    try:
        address = ip_address(source.partition("%")[0])
    except ValueError:
        return source[:64]
    return str(address) if address.version == 4 else str(ip_network((int(address), 64), strict=False))


def _trim(entries: OrderedDict[bytes, float] | OrderedDict[str, deque[float]], most: int) -> None:
    while len(entries) > most:
        entries.popitem(last=False)
