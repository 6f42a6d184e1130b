"""From a datagram to a deed: parse, check against the helper's own list, do it, say what came of it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import msgspec

from appliance.bpf.relay_loader import RelayDescriptors
from appliance.helper.audit import Audit
from appliance.helper.machine import Machine
from appliance.helper.settings import may_set
from appliance.proto.helper.messages import (
    AnyRequest,
    LoadRelay,
    Reboot,
    Reply,
    SetHostname,
    SetResolver,
    SetSysctl,
    parse_request,
    verb_of,
)
from appliance.types.errors import ApplianceError, DecodeError, PrivilegeError


class RefusedError(PrivilegeError):
    """The helper does not do this for this caller."""

    code = "refused"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end, by SO_PEERCRED at connect time."""

    pid: int
    uid: int
    gid: int


class Desk:
    """Answers requests; each call leaves exactly one audit line."""

    def __init__(self, machine: Machine, audit: Audit, uids: frozenset[int]) -> None:
        self._machine = machine
        self._audit = audit
        self._uids = uids
        self._descriptors: RelayDescriptors | None = None

    def may_call(self, caller: Caller) -> bool:
        return caller.uid in self._uids

    def take_descriptors(self) -> RelayDescriptors | None:
        """What goes out beside the answer just given; the caller closes them."""
        taken, self._descriptors = self._descriptors, None
        return taken

    def turn_away(self, caller: Caller) -> Reply:
        """For a caller whose words are not even parsed."""
        mend = "only the daemon's user and root may use the helper"
        return self._told(caller, {}, RefusedError(f"user {caller.uid} may not call the helper", mend=mend))

    def answer(self, caller: Caller, data: bytes) -> Reply:
        try:
            request = parse_request(data)
        except DecodeError as error:
            return self._told(caller, {"bytes": len(data)}, error)
        said = {**msgspec.to_builtins(request), "verb": verb_of(request)}
        try:
            self._do(request)
        except ApplianceError as error:
            return self._told(caller, said, error)
        except (OSError, subprocess.SubprocessError) as error:
            text = f"{verb_of(request)} failed: {error}"
            return self._told(caller, said, ApplianceError(text[:400], code="failed"))
        return self._told(caller, said, None)

    def _do(self, request: AnyRequest) -> None:
        match request:
            case SetSysctl(key=key, value=value):
                if not may_set(key, value):
                    raise RefusedError(f"the helper does not set {key} to {value}", mend="set it in /etc/sysctl.d")
                self._machine.set_sysctl(key, value)
            case SetHostname(name=name):
                self._machine.set_hostname(name)
            case SetResolver():
                self._machine.set_resolver(request)
            case LoadRelay(port=port, mark=mark):
                self._descriptors = self._machine.load_relay(port, mark)
            case Reboot():
                self._machine.reboot()

    def _told(self, caller: Caller, said: dict[str, object], error: ApplianceError | None) -> Reply:
        who = {"pid": caller.pid, "uid": caller.uid, "gid": caller.gid}
        if error is None:
            self._audit.info("helper-call", outcome="done", **who, **said)
            return Reply()
        outcome = "failed" if error.code == "failed" else "refused"
        self._audit.warning("helper-call", outcome=outcome, code=error.code, reason=error.text, **who, **said)
        return Reply(code=error.code, text=error.text[:400], mend=error.mend[:400])
