"""Registers this node: drives the login machine over the tunnel and turns its outcomes into results and errors."""

from __future__ import annotations

from collections.abc import Callable

from appliance.netmap.dialing import Sleep
from appliance.netmap.errors import BadAuthKey, ControlRefused, LoginNeeded, LoginRefused, ProtocolError
from appliance.netmap.link import ControlLink
from appliance.netmap.login import (
    MAX_REPLY,
    KeyExpired,
    LoginMachine,
    NodeKeys,
    Outcome,
    Refused,
    RegisterAgain,
    Registered,
    RetryLater,
    VisitUrl,
)
from appliance.netmap.waiting import within
from appliance.proto.control import messages as wire
from appliance.types.errors import ControlError, DecodeError

REGISTER_PATH = "/machine/register"
REGISTER_TIMEOUT_S = 60.0
AUTH_KEY_MEND = "make a new one on the control server: waypost-control preauthkeys create"


class Registration:
    """`save_keys` has stored an accepted pair when it returns; only then is the pair used."""

    def __init__(
        self, link: ControlLink, machine: LoginMachine, save_keys: Callable[[NodeKeys], None], sleep: Sleep
    ) -> None:
        self._link = link
        self._save_keys = save_keys
        self._sleep = sleep
        self.machine = machine

    async def register(self, hostinfo: wire.Hostinfo) -> Registered | VisitUrl:
        """Until it is decided. Raises `ControlError`s that are fit for people."""
        while True:
            outcome = await within(self._exchange(hostinfo), REGISTER_TIMEOUT_S, self._sleep, "login")
            if not isinstance(outcome, RegisterAgain):
                return self._settle(outcome)

    async def wait_for_visit(self, hostinfo: wire.Hostinfo) -> Registered | VisitUrl:
        """Block until the server says that somebody has finished the login, or names another URL."""
        outcome = await self._exchange(hostinfo)
        if isinstance(outcome, VisitUrl) and outcome.repeated:
            raise ControlRefused(200, "the control server does not finish the login")
        return self._settle(outcome)

    async def log_out(self, hostinfo: wire.Hostinfo) -> None:
        """Tell the server that the node key is no more, and forget it. Raises `ControlError`."""
        request = self.machine.logout_request(hostinfo)
        if request is not None:
            connection = await self._link.connected()
            asking = connection.request("POST", REGISTER_PATH, wire.encode(request), limit=MAX_REPLY)
            reply = await within(asking, REGISTER_TIMEOUT_S, self._sleep, "logout")
            if reply.status != 200:
                text = reply.body[:200].decode("utf-8", "replace").strip()
                raise ControlRefused(reply.status, f"the control server refuses the logout: {text}")
        self.machine.forget()

    async def _exchange(self, hostinfo: wire.Hostinfo) -> Outcome:
        connection = await self._link.connected()
        request = wire.encode(self.machine.request(hostinfo))
        reply = await connection.request("POST", REGISTER_PATH, request, limit=MAX_REPLY)
        try:
            return self.machine.receive_response(reply.status, reply.body, reply.header("retry-after"))
        except DecodeError as error:
            raise ProtocolError(f"the control server's answer to the login is unreadable: {error.text}") from error

    def _settle(self, outcome: Outcome) -> Registered | VisitUrl:
        match outcome:
            case Registered():
                self._save_keys(outcome.keys)
                return outcome
            case VisitUrl():
                return outcome
            case RetryLater(after_s):
                text = f"the control server asks to come back in {after_s:.0f} s"
                raise ControlRefused(429, text, retry_after_s=after_s)
            case KeyExpired():
                raise LoginNeeded("the node key has expired", mend="run: waypost login")
            case Refused(text, status, fatal):
                raise self._refusal(text, status, fatal=fatal)
            case RegisterAgain():
                raise ControlRefused(200, "the control server wants another node key")

    def _refusal(self, text: str, status: int, *, fatal: bool) -> ControlError:
        if not fatal:
            return ControlRefused(status, f"the control server answers the login with an error: {text}")
        if self.machine.uses_auth_key:
            return BadAuthKey(f"the control server refuses the pre-auth key: {text}", mend=AUTH_KEY_MEND)
        mend = "ask the administrator of the control server, or run: waypost login"
        return LoginRefused(f"the control server refuses the login: {text}", mend=mend)
