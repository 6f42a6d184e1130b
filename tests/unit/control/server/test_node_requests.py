"""URLs of ping requests: unique, used by the right machine only, never waited for without end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.proto.control import messages as wire
from appliance.types.keys import MachinePublicKey
from control.server import node_requests as module
from control.server.node_requests import NodeRequests
from control.service.requests import NodeAwayError

MACHINE, OTHER = MachinePublicKey(b"\x01" * 32), MachinePublicKey(b"\x02" * 32)
NODE = SimpleNamespace(id=1, machine_key=MACHINE, given_name="gw1")


class Rig:
    def __init__(self) -> None:
        self.sent: list[wire.PingRequest] = []
        self.connected = True
        self.requests = NodeRequests(self.send, VirtualClock(), SeededRandomness(1))

    def send(self, node_id: int, response: wire.MapResponse) -> bool:
        assert response.ping_request is not None
        self.sent.append(response.ping_request)
        return self.connected

    async def ask(self, types: str = "", answers: int = 1, limit_s: float = 5) -> asyncio.Task[list[bytes]]:
        task = asyncio.ensure_future(self.requests.ask(NODE, wire.PingRequest(types=types), answers, limit_s))
        await asyncio.sleep(0)
        return task

    def path(self, number: int = -1) -> str:
        return urlsplit(self.sent[number].url).path


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.mark.parametrize(("types", "prefix"), [("", "/machine/ping-response/"), ("c2n", "/machine/c2n/")])
async def test_ok__answer_of_the_machine_that_was_asked(rig: Rig, types: str, prefix: str) -> None:
    task = await rig.ask(types)
    assert rig.path().startswith(prefix)
    assert rig.sent[0].url.startswith("https://")
    assert rig.sent[0].url_is_noise
    assert rig.requests.answered(MACHINE, "POST", rig.path(), b"yes")
    assert await task == [b"yes"]
    assert not rig.requests.answered(MACHINE, "POST", rig.path(), b"again")


async def test_ok__several_answers_to_one_question(rig: Rig) -> None:
    task = await rig.ask("disco,TSMP", answers=2)
    assert rig.requests.answered(MACHINE, "POST", rig.path(), b"1")
    assert not task.done()
    assert rig.requests.answered(MACHINE, "POST", rig.path(), b"2")
    assert not rig.requests.answered(MACHINE, "POST", rig.path(), b"3")
    assert await task == [b"1", b"2"]


async def test_ok__every_question_has_a_url_of_its_own(rig: Rig) -> None:
    tasks = [await rig.ask() for _ in range(3)]
    assert len({request.url for request in rig.sent}) == 3
    for number, task in enumerate(tasks):
        assert rig.requests.answered(MACHINE, "HEAD", rig.path(number), b"")
        assert await task == [b""]


async def test_fail__other_machine_other_method_other_path(rig: Rig) -> None:
    task = await rig.ask(limit_s=0.01)
    assert not rig.requests.answered(OTHER, "POST", rig.path(), b"")
    assert not rig.requests.answered(MACHINE, "GET", rig.path(), b"")
    assert not rig.requests.answered(MACHINE, "POST", rig.path() + "0", b"")
    assert await task == []


async def test_fail__time_is_up_with_what_came(rig: Rig) -> None:
    task = await rig.ask("disco,TSMP", answers=2, limit_s=0.01)
    assert rig.requests.answered(MACHINE, "POST", rig.path(), b"1")
    assert await task == [b"1"]
    assert rig.requests._waiting == {}


async def test_fail__node_is_away(rig: Rig) -> None:
    rig.connected = False
    with pytest.raises(NodeAwayError, match="gw1"):
        await (await rig.ask())
    assert rig.requests._waiting == {}


async def test_fail__too_many_questions(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 1)
    first = await rig.ask()
    with pytest.raises(NodeAwayError, match="too many"):
        await (await rig.ask())
    first.cancel()
