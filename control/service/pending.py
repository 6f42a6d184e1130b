"""Logins that wait for a person: bounded in number and age, in memory only (control-protocol spec 7.4).

A device that asks to join without a key gets an id; its follow-up request waits here until an administrator decides.
What a restart of the server forgets, the device asks for again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from appliance.proto.control.messages import Hostinfo, RegisterRequest, encode

if TYPE_CHECKING:
    from datetime import datetime

    from appliance.ports.clock import Clock
    from appliance.ports.randomness import Randomness
    from appliance.types.keys import MachinePublicKey, NodePublicKey

LIFE_S = 900.0
MAX_PENDING = 512
MAX_HOSTINFO_BYTES = 16 << 10
ID_BYTES = 10


class Decision(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"
    REPLACED = "replaced"
    """The device began another login."""
    EXPIRED = "expired"


@dataclass(slots=True, eq=False)
class PendingLogin:
    """One device that wants in. `due` is monotonic seconds, `wished_expiry` what the device asked for."""

    id: str
    machine_key: MachinePublicKey
    node_key: NodePublicKey
    request: RegisterRequest
    wished_expiry: datetime | None
    remote_ip: str
    created: datetime
    due: float
    decision: Decision = Decision.WAITING
    waiter: asyncio.Future[None] | None = field(default=None, repr=False)

    @property
    def hostinfo(self) -> Hostinfo:
        return self.request.hostinfo or Hostinfo()

    def decide(self, decision: Decision) -> None:
        """Wakes the follow-up request."""
        self.decision = decision
        self.wake()

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
        self.waiter = None

    async def wait(self) -> bool:
        """Until decided. False: another follow-up of the same login took over."""
        if self.decision is not Decision.WAITING:
            return True
        self.wake()
        mine = self.waiter = asyncio.get_running_loop().create_future()
        try:
            await mine
        finally:
            if self.waiter is mine:
                self.waiter = None
        return self.decision is not Decision.WAITING


class PendingLogins:
    """One login per machine key at a time; drive time with `sweep`."""

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._randomness = randomness
        self._by_id: dict[str, PendingLogin] = {}
        self._by_machine: dict[MachinePublicKey, str] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def waiting(self) -> tuple[PendingLogin, ...]:
        """Undecided, oldest first."""
        return tuple(login for login in self._by_id.values() if login.decision is Decision.WAITING)

    def find(self, login_id: str) -> PendingLogin | None:
        """Decided ones too, until they are too old."""
        return self._by_id.get(login_id)

    def begin(
        self,
        machine_key: MachinePublicKey,
        node_key: NodePublicKey,
        request: RegisterRequest,
        wished_expiry: datetime | None,
        remote_ip: str,
    ) -> PendingLogin:
        """A login for this machine and key: the one that waits already, else a new one in the place of an older."""
        former = self._by_id.get(self._by_machine.get(machine_key, ""))
        if former is not None:
            if former.decision is Decision.WAITING and former.node_key == node_key:
                return former
            self._remove(former, Decision.REPLACED)
        if len(self._by_id) >= MAX_PENDING:
            self._make_room()
        login = PendingLogin(
            self._randomness.bytes(ID_BYTES).hex(),
            machine_key,
            node_key,
            _bounded(request),
            wished_expiry,
            remote_ip,
            self._clock.wall_now(),
            self._clock.now() + LIFE_S,
        )
        self._by_id[login.id] = login
        self._by_machine[machine_key] = login.id
        return login

    def sweep(self) -> None:
        """Forget what is too old; called about once a second."""
        now = self._clock.now()
        for login in [login for login in self._by_id.values() if login.due <= now]:
            self._remove(login, Decision.EXPIRED)

    def _make_room(self) -> None:
        """Forget the oldest of the address that has most: a flood drives itself out, nobody else."""
        crowded, _ = Counter(login.remote_ip for login in self._by_id.values()).most_common(1)[0]
        oldest = next(login for login in self._by_id.values() if login.remote_ip == crowded)
        self._remove(oldest, Decision.EXPIRED)

    def _remove(self, login: PendingLogin, decision: Decision) -> None:
        del self._by_id[login.id]
        if self._by_machine.get(login.machine_key) == login.id:
            del self._by_machine[login.machine_key]
        if login.decision is Decision.WAITING:
            login.decide(decision)


def _bounded(request: RegisterRequest) -> RegisterRequest:
    """What approval needs, without secrets; a Hostinfo that is too long keeps its name only."""
    hostinfo = request.hostinfo
    if hostinfo is not None and len(encode(hostinfo)) > MAX_HOSTINFO_BYTES:
        hostinfo = Hostinfo(hostname=hostinfo.hostname[:255], os=hostinfo.os[:64])
    return msgspec.structs.replace(request, auth=None, followup="", hostinfo=hostinfo)
