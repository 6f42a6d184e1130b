"""Logins that wait for a person: limits, age, and what wakes a follow-up."""

from __future__ import annotations

import asyncio

import pytest

from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.proto.control.messages import Auth, Hostinfo, RegisterRequest
from appliance.types.keys import MachinePublicKey
from control.service.pending import LIFE_S, MAX_HOSTINFO_BYTES, MAX_PENDING, Decision, PendingLogin, PendingLogins
from tests.unit.control.service.conftest import machine, node_key


class Rig:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.logins = PendingLogins(self.clock, SeededRandomness(1))

    def begin(self, number: int, key: int = 1, ip: str = "192.0.2.1", **fields: object) -> PendingLogin:
        request = RegisterRequest(**fields)  # type: ignore[arg-type]  # by name
        return self.logins.begin(machine(number), node_key(key), request, None, ip)


@pytest.fixture
def waiting() -> Rig:
    return Rig()


def test_ok__the_same_device_gets_the_same_login(waiting: Rig) -> None:
    assert waiting.begin(1) is waiting.begin(1)
    assert len(waiting.logins) == 1


def test_ok__another_key_of_a_device_replaces_its_login(waiting: Rig) -> None:
    first = waiting.begin(1)
    second = waiting.begin(1, key=2)
    assert (first.decision, waiting.logins.waiting()) == (Decision.REPLACED, (second,))


def test_ok__an_old_login_is_forgotten(waiting: Rig) -> None:
    login = waiting.begin(1)
    waiting.clock.advance(LIFE_S - 1)
    waiting.logins.sweep()
    assert waiting.logins.find(login.id) is login
    waiting.clock.advance(1)
    waiting.logins.sweep()
    assert (waiting.logins.find(login.id), login.decision) == (None, Decision.EXPIRED)


def test_ok__a_flood_drives_out_its_own_only(waiting: Rig) -> None:
    honest = waiting.begin(1, ip="192.0.2.7")
    for number in range(MAX_PENDING + 50):
        request = RegisterRequest()
        waiting.logins.begin(MachinePublicKey(number.to_bytes(32)), node_key(3), request, None, "198.51.100.1")
    late = waiting.begin(4, ip="192.0.2.8")
    last = waiting.logins.begin(machine(5), node_key(3), RegisterRequest(), None, "198.51.100.1")
    assert waiting.logins.find(late.id) is late
    assert len(waiting.logins) == MAX_PENDING
    assert waiting.logins.find(honest.id) is honest
    assert waiting.logins.find(last.id) is last


def test_ok__what_is_kept_has_no_secret_and_is_bounded(waiting: Rig) -> None:
    huge = Hostinfo(hostname="gw", os="linux", request_tags=["tag:" + "x" * MAX_HOSTINFO_BYTES])
    login = waiting.begin(1, auth=Auth(auth_key="secret"), followup="x", hostinfo=huge)
    assert (login.request.auth, login.request.followup) == (None, "")
    assert (login.hostinfo.hostname, login.hostinfo.request_tags) == ("gw", [])


async def test_ok__a_newer_follow_up_takes_over(waiting: Rig) -> None:
    login = waiting.begin(1)
    first = asyncio.ensure_future(login.wait())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(login.wait())
    await asyncio.sleep(0)
    assert await first is False
    login.decide(Decision.APPROVED)
    assert await second is True
    assert await login.wait() is True


async def test_ok__a_cancelled_follow_up_leaves_the_login_waiting(waiting: Rig) -> None:
    login = waiting.begin(1)
    task = asyncio.ensure_future(login.wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (login.waiter, login.decision) == (None, Decision.WAITING)
