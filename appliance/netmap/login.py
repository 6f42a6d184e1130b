"""The login machine: which key a register request carries, and what its answer means (control-protocol section 7).

Sans-IO: requests out, answers in. A new node key is a trial until the server accepts it; until then the old one stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from appliance.ports.clock import Clock
from appliance.ports.randomness import Randomness
from appliance.proto.control import messages as wire
from appliance.types.keys import NodePrivateKey, NodePublicKey

MAX_REPLY = 2**20
MAX_RETRY_AFTER_S = 3600.0
_PAGE = re.compile(r"https?://[!-~]{1,2000}")


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """A node key pair, and the public key that it replaced (None: none)."""

    private: NodePrivateKey
    public: NodePublicKey
    old: NodePublicKey | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """The server knows this node by `keys`. `authorized` False: an administrator has yet to approve the device."""

    keys: NodeKeys
    login_name: str = ""
    display_name: str = ""
    authorized: bool = True


@dataclass(frozen=True, slots=True)
class VisitUrl:
    """Somebody must open the URL; the next request waits for that."""

    url: str
    repeated: bool = False
    """The same URL as before: the server does not make progress, so back off."""


@dataclass(frozen=True, slots=True)
class RegisterAgain:
    """The key was refused; the next request carries a new one."""


@dataclass(frozen=True, slots=True)
class KeyExpired:
    """The server wants a login, and there is nothing to log in with."""


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Too many requests."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """`text` is the server's own. `fatal`: the answer was meant for people; else the server failed and may recover."""

    text: str
    status: int = 200
    fatal: bool = True


Outcome = Registered | VisitUrl | RegisterAgain | KeyExpired | RetryLater | Refused


def _shown(text: str) -> str:
    """Text of the server for a terminal: bounded, without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:500]).strip()


class LoginMachine:
    """`request`, send it, `receive_response`; repeat as the outcome says. `make_keys` gives a fresh pair."""

    def __init__(
        self,
        keys: NodeKeys | None,
        make_keys: Callable[[], NodeKeys],
        *,
        clock: Clock,
        randomness: Randomness,
        version: int = wire.CAPABILITY_VERSION,
    ) -> None:
        self._keys = keys
        self._trial: NodeKeys | None = None
        self._make_keys = make_keys
        self._clock = clock
        self._randomness = randomness
        self._version = version
        self._auth_key = ""
        self._followup = ""
        self._interactive = False
        self._regenerated = False
        self._ephemeral = False
        self._expired = False

    @property
    def keys(self) -> NodeKeys | None:
        """The accepted keys; None before the first login."""
        return self._keys

    @property
    def auth_url(self) -> str:
        """What somebody must visit; empty when nothing is pending."""
        return self._followup

    @property
    def has_credentials(self) -> bool:
        """Whether an attempt can succeed without a person."""
        return bool(self._auth_key) or self._keys is not None

    @property
    def needs_person(self) -> bool:
        """The server wants a login, and there is nothing left to try."""
        return self._expired

    @property
    def uses_auth_key(self) -> bool:
        return bool(self._auth_key)

    def forget(self) -> None:
        """Logged out: no keys, nothing to log in with."""
        self._keys = self._trial = None
        self._auth_key = self._followup = ""

    def start(self, auth_key: str = "", *, new_key: bool = False, ephemeral: bool = False) -> None:
        """Begin a login. `new_key`: replace the node key (interactive login, known expiry)."""
        self._auth_key = auth_key.strip()
        self._interactive = not self._auth_key and (new_key or self._keys is None)
        self._ephemeral = ephemeral
        self._followup = ""
        self._regenerated = self._expired = False
        self._trial = self._fresh() if new_key or self._keys is None else None

    def request(self, hostinfo: wire.Hostinfo) -> wire.RegisterRequest:
        """The request to send now."""
        keys = self._trial or self._keys
        if keys is None:
            keys = self._trial = self._fresh()
        return wire.RegisterRequest(
            version=self._version,
            node_key=str(keys.public),
            old_node_key=str(keys.old or NodePublicKey.zero()),
            auth=wire.Auth(auth_key=self._auth_key) if self._auth_key else None,
            followup=self._followup,
            hostinfo=hostinfo,
            ephemeral=self._ephemeral,
        )

    def logout_request(self, hostinfo: wire.Hostinfo) -> wire.RegisterRequest | None:
        """Tell the server that this node's key is no more; None when there is none."""
        if self._keys is None:
            return None
        return wire.RegisterRequest(
            version=self._version,
            node_key=str(self._keys.public),
            old_node_key=str(self._keys.old or NodePublicKey.zero()),
            auth=wire.Auth(auth_key=self._auth_key) if self._auth_key else None,
            expiry=wire.LOGOUT_EXPIRY,
            hostinfo=hostinfo,
        )

    def receive_response(self, status: int, body: bytes, retry_after: str = "") -> Outcome:
        """What the answer means, in the order of section 7.2. Raises `DecodeError` for an answer that is no JSON."""
        if status == 429:
            return RetryLater(self._retry_after_s(retry_after))
        if status != 200:
            text = _shown(body[:200].decode("utf-8", "replace"))
            return Refused(text or f"HTTP {status}", status, fatal=400 <= status < 500)
        reply = wire.decode(wire.RegisterResponse, body)
        if reply.error:
            return Refused(_shown(reply.error))
        if reply.node_key_signature:
            return self._regenerate("the server wants a signature of tailnet lock, which this node cannot give")
        if reply.node_key_expired:
            return self._key_expired()
        if reply.auth_url:
            if not _PAGE.fullmatch(reply.auth_url):
                return Refused("it names a login page that is no URL")
            repeated = reply.auth_url == self._followup
            self._followup = reply.auth_url
            return VisitUrl(reply.auth_url, repeated)
        return self._accepted(reply)

    def _accepted(self, reply: wire.RegisterResponse) -> Registered:
        keys = self._trial or self._keys
        assert keys is not None
        self._keys, self._trial, self._followup = keys, None, ""
        self._regenerated = False
        name = reply.login.display_name or reply.user.display_name
        return Registered(keys, reply.login.login_name, name, reply.machine_authorized)

    def _key_expired(self) -> Outcome:
        if not self._auth_key and not self._interactive:
            self._expired = True
            return KeyExpired()
        return self._regenerate("the server says that the key just made has expired")

    def _regenerate(self, text: str) -> Outcome:
        if self._regenerated:
            return Refused(text)
        self._regenerated = True
        self._trial = self._fresh()
        return RegisterAgain()

    def _fresh(self) -> NodeKeys:
        made = self._make_keys()
        return NodeKeys(made.private, made.public, self._keys.public if self._keys is not None else None)

    def _retry_after_s(self, text: str) -> float:
        """Seconds or a date; anything else, or more than an hour, means 5 to 10 seconds (section 7.2)."""
        seconds = 0.0
        if text.isascii() and text.isdigit() and len(text) < 6:
            seconds = float(text)
        elif text:
            try:
                seconds = (parsedate_to_datetime(text) - self._clock.wall_now()).total_seconds()
            except (ValueError, TypeError):
                seconds = 0.0
        return seconds if 0 < seconds <= MAX_RETRY_AFTER_S else self._randomness.uniform(5, 10)
