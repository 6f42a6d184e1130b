"""Peers have hosts woken where the policy lets them."""

from __future__ import annotations

import json

import pytest

from appliance.drivers.streams import SocketDialer
from appliance.peerapi.wake import CAP_WAKE, WakeRefusedError, add_wake, ask_to_wake
from appliance.proto.control import messages as wire
from appliance.types.addresses import AddrPort
from appliance.types.errors import ApplianceError
from appliance.types.wake import WakeReport
from tests.unit.appliance.peerapi.conftest import PEER, US, World, full_map, wire_node

MAC = "00:1a:2b:3c:4d:5e"


class Waker:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.error: ApplianceError | None = None

    def __call__(self, mac: str, interface: str) -> WakeReport:
        if self.error is not None:
            raise self.error
        self.asked.append((mac, interface))
        return WakeReport(("lan0",))


@pytest.fixture
def waker(world: World) -> Waker:
    made = Waker()
    add_wake(world.routes, made)
    return made


def grant(world: World) -> None:
    rule = wire.FilterRule(
        src_ips=[PEER], cap_grant=[wire.CapGrant(dsts=[f"{US}/32"], cap_map={CAP_WAKE: []})], dst_ports=[]
    )
    world.set_map(full_map(wire_node(1, str(US)), wire_node(2, PEER), [rule]))


def same_user(world: World) -> None:
    world.set_map(full_map(wire_node(1, str(US)), wire_node(2, PEER, user=1)))


async def asked(world: World, mac: str = MAC, interface: str = "") -> WakeReport:
    endpoint = world.server.endpoints[0]
    dialer = SocketDialer(mark=0)
    return await ask_to_wake(dialer, AddrPort(endpoint.ip, endpoint.port), mac, interface)


@pytest.mark.parametrize("allow", [grant, same_user])
async def test_ok__who_may(world: World, waker: Waker, allow) -> None:
    allow(world)
    status, answer = await world.ask(f"/v0/wol?mac={MAC}", method="POST")
    assert status == 200
    assert json.loads(answer.partition("\r\n\r\n")[2]) == {"SentTo": ["lan0"], "Errors": None}
    assert waker.asked == [(MAC, "")]
    assert (await world.ask("/v0/wol"))[0] == 405


async def test_fail__who_may_not(world: World, waker: Waker) -> None:
    for method in ("POST", "GET"):
        assert (await world.ask(f"/v0/wol?mac={MAC}", method=method))[0] == 403, "before the method is looked at"
    assert waker.asked == []


async def test_fail__no_host_and_too_many(world: World, waker: Waker) -> None:
    same_user(world)
    assert (await world.ask("/v0/wol", method="POST", headers="Content-Length: 3\r\n\r\n\xff"))[0] == 400
    waker.error = ApplianceError("'x' is no hardware address")
    assert (await world.ask("/v0/wol?mac=x", method="POST"))[0] == 400
    waker.error = ApplianceError("too many", code="wake-rate")
    assert (await world.ask(f"/v0/wol?mac={MAC}", method="POST"))[0] == 429


async def test_ok__both_halves_fit(world: World, waker: Waker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dialer comes from 127.0.0.1, so that is the peer here."""
    world.set_map(full_map(wire_node(1, "127.0.0.9"), wire_node(2, "127.0.0.1", user=1)))
    monkeypatch.setattr("appliance.peerapi.server.host_is_ours", lambda _host, _own: True)
    assert await asked(world, interface="lan0") == WakeReport(("lan0",))
    assert waker.asked == [(MAC, "lan0")]
    waker.error = ApplianceError("too many hosts", code="wake-rate")
    with pytest.raises(WakeRefusedError, match="too many hosts"):
        await asked(world)
    world.set_map(full_map(wire_node(1, "127.0.0.9"), wire_node(2, "127.0.0.1")))
    with pytest.raises(WakeRefusedError, match="wakes no hosts") as caught:
        await asked(world)
    assert CAP_WAKE in caught.value.mend


async def test_fail__nobody_answers(world: World) -> None:
    await world.server.close()
    with pytest.raises(WakeRefusedError, match="does not answer"):
        await ask_to_wake(SocketDialer(mark=0), AddrPort("127.0.0.1", 9), MAC, "")
