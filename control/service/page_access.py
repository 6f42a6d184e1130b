"""Who may see the server's status page: one-time codes from the command line, sessions opened by them.

The page is read-only, so a session holds the permission to read and no other. Nothing is kept over a restart.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from appliance.pages.sign_in import CODE_LIFE_S, CODE_RANDOM_BYTES, TOKEN_BYTES, SignIn
from control.service.actor import Actor, Permission
from control.state.records import Role

if TYPE_CHECKING:
    from control.service.core import Core

PAGE_READER = Actor("page", Role.AUDITOR)
"""Whoever looks at the page."""
CODE_LIFE = timedelta(seconds=CODE_LIFE_S)
SESSION_LIFE = timedelta(hours=12)


class PageAccess:
    """The machine of codes and sessions with this server's clock, randomness and rights."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._sign_in = SignIn(SESSION_LIFE.total_seconds(), "waypost-control page")
        self.refused_requests = 0
        """Requests refused for their Host or site."""

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"{self._core.settings.url.rstrip('/')}/status"

    @property
    def counters(self) -> dict[str, int]:
        return {"wrong_codes": self._sign_in.refused, "refused_requests": self.refused_requests}

    def issue(self, actor: Actor) -> str:
        """A new code "ABCD-EFGH"; of too many the oldest ends."""
        actor.require(Permission.READ)
        return self._sign_in.issue(self._core.randomness.bytes(CODE_RANDOM_BYTES), self._core.clock.now())

    def redeem(self, code: str, source: str) -> str:
        """Trade a code for a session token. Raises `CodeRefusedError`, `TooManyTriesError`."""
        return self._sign_in.redeem(code, source, self._core.randomness.bytes(TOKEN_BYTES), self._core.clock.now())

    def is_valid(self, token: str) -> bool:
        """Whether this is the token of a living session."""
        return self._sign_in.is_valid(token, self._core.clock.now())

    def end(self, token: str) -> None:
        """Sign out; unknown tokens are ignored."""
        self._sign_in.end(token)
