"""One login at a time, beside what runs: with a key, or by a URL that a person opens.

Keys, preferences and profile that come with a login are stored only once control has accepted it. A login at another
server or into another profile is tried out before the old one is left; one that fails changes nothing
(design.md 2, row 12).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from appliance.netmap.client import ControlClient
from appliance.netmap.login import NodeKeys, Registered, VisitUrl
from appliance.state.profiles import Prefs, Profile, ProfileEntry, StoredKeys
from appliance.types.errors import ApplianceError, ControlError

log = structlog.get_logger("logins")

VISIT_LIMIT_S = 3600.0
"""A login that nobody finishes for so long is given up."""


LOGOUT_LIMIT_S = 10.0


class LoginTimeoutError(ApplianceError):
    """Nobody opened the login page in time."""

    code = "login-timeout"

    def __init__(self) -> None:
        super().__init__("nobody finished the login within an hour", mend="begin another: waypost login")


@dataclass(frozen=True, slots=True)
class LoginPlan:
    """`prefs` become the preferences with the login. `known`: keys that it replaces; None: it is a first one there.

    `hold`: the old login must stay usable until the new one has been tried out. `profile` None = the current one.
    """

    url: str
    prefs: Prefs
    auth_key: str
    known: StoredKeys | None
    hold: bool
    profile: ProfileEntry | None = None

    def __repr__(self) -> str:
        return f"LoginPlan(url={self.url!r}, profile={self.profile!r}, hold={self.hold})"


class KeyKeeper:
    """Where a control client leaves the node keys that control accepted."""

    def __init__(self, store: Callable[[NodeKeys], None], *, hold: bool = False) -> None:
        self._store = store
        self._hold = hold
        self._held: NodeKeys | None = None

    def accept(self, keys: NodeKeys) -> None:
        """Stored when this returns, unless they are held back."""
        if self._hold:
            self._held = keys
        else:
            self._store(keys)

    def release(self) -> None:
        """Store what was held back, and everything from now on."""
        self._hold = False
        held, self._held = self._held, None
        if held is not None:
            self._store(held)


class Login:
    """A login under way."""

    def __init__(self, plan: LoginPlan, client: ControlClient, keeper: KeyKeeper) -> None:
        self.plan = plan
        self.client = client
        self.keeper = keeper
        self.task: asyncio.Task[None] | None = None

    @property
    def auth_url(self) -> str:
        return self.client.auth_url

    @property
    def waiting_for(self) -> str:
        return "waiting for somebody to open the login page" if self.auth_url else f"logging in at {self.plan.url}"

    def start(
        self,
        group: asyncio.TaskGroup,
        accepted: Callable[[Login, Registered], Awaitable[None]],
        failed: Callable[[ApplianceError], Awaitable[None]],
    ) -> None:
        """Run in `group`; one of the two is called at the end, neither when cancelled."""
        self.task = group.create_task(self._run(accepted, failed), name="login")

    async def cancel(self) -> None:
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def _run(
        self,
        accepted: Callable[[Login, Registered], Awaitable[None]],
        failed: Callable[[ApplianceError], Awaitable[None]],
    ) -> None:
        try:
            registered = await self._register()
            self.keeper.release()
            await accepted(self, registered)
        except ApplianceError as error:
            await self.client.close()
            await failed(error)
            return
        except BaseException:
            await self.client.close()
            raise

    async def _register(self) -> Registered:
        outcome = await self.client.login(self.plan.auth_key, new_key=True)
        if isinstance(outcome, VisitUrl):
            log.info("a person must open the login page", url=outcome.url)
            try:
                async with asyncio.timeout(VISIT_LIMIT_S):
                    outcome = await self.client.finish_login()
            except TimeoutError:
                raise LoginTimeoutError from None
        if self.plan.hold:
            await self.client.verify()
        return outcome


def store_login(profile: Profile, plan: LoginPlan, keys: NodeKeys) -> None:
    """A login of a profile that is not the current one. Raises `StateError`."""
    profile.keys.save(StoredKeys(node_key=keys.private, old_node_key=keys.old, control_url=plan.url))
    profile.prefs.save(plan.prefs)


async def log_out_in_passing(client: ControlClient) -> None:
    """Tell a control server that its login is given up; one that does not answer soon is left alone."""
    try:
        async with asyncio.timeout(LOGOUT_LIMIT_S):
            await client.logout()
    except (ControlError, TimeoutError) as error:
        log.warning("a control server could not be told of a logout", error=str(error))
    finally:
        await client.close()
