"""Switching a gateway's exit from control: what is sent, what is written down, what is refused."""

from __future__ import annotations

import json

import pytest

from appliance.proto.control.messages import Hostinfo
from appliance.proto.http1.head import encode_response, parse_request_head
from control.service.actor import Actor
from control.service.errors import ConflictError, DeniedError, ServiceError
from control.service.exits import ExitWish
from control.service.requests import NodeAwayError
from control.state.records import Role

from .conftest import ADMIN
from .test_requests import connect

EXIT = ["0.0.0.0/0", "::/0"]
SETTINGS = encode_response(200, b"{}", "application/json")


@pytest.fixture
async def gateway(rig):
    """gw1 uses exits, gw2 is one, gw3 offers itself without approval."""
    await rig.join(2, routable_ips=EXIT)
    await rig.service.routes.approve(ADMIN, "gw2", ["exit"])
    await rig.join(3, routable_ips=EXIT)
    return await rig.join(1)


def sent(channel) -> dict[str, object]:
    (_, request, _, _) = channel.asked[-1]
    head, size = parse_request_head(request.payload)
    assert (head.method, head.target) == ("PATCH", "/waypost/settings")
    return json.loads(request.payload[size:])


async def test_ok__a_named_exit(rig, gateway):
    channel = connect(rig, SETTINGS)
    await rig.service.exits.switch(ADMIN, "gw1", ExitWish("gw2", site=True, confirm_within_s=30))
    stable_id = rig.service.nodes.find("gw2").stable_id
    assert sent(channel) == {"plugins": {"exit_node": {"use": stable_id, "site": True}}, "confirm_within_s": 30}
    async with rig.service._core.read() as tx:
        entries = [entry for entry in await tx.audit_entries(5) if entry.action == "node.exit"]
    assert [(entry.target, json.loads(entry.after)["use"]) for entry in entries] == [(f"node:{gateway.id}", "gw2")]


async def test_ok__the_best_one_and_none(rig, gateway):
    channel = connect(rig, SETTINGS)
    await rig.service.exits.switch(ADMIN, "gw1", ExitWish("auto", lan_access=False, regions=("fra",)))
    assert sent(channel)["plugins"] == {"exit_node": {"use": "auto", "lan_access": False, "regions": ["fra"]}}
    await rig.service.exits.switch(ADMIN, "gw1", ExitWish("auto", site=True, gateway_direct=True))
    assert sent(channel)["plugins"] == {"exit_node": {"use": "auto", "site": True, "gateway_direct": True}}
    await rig.service.exits.switch(ADMIN, "gw1", ExitWish("off"))
    assert sent(channel)["plugins"]["exit_node"]["use"] == ""
    assert sent(channel)["plugins"]["exit_node"]["site"] is False


async def test_ok__what_a_gateway_says_of_itself(rig, gateway):
    assert rig.service.exits.show(ADMIN, "gw1").exit is None
    used = rig.service.nodes.find("gw2")
    await rig.service.update_node(gateway.id, hostinfo=Hostinfo(hostname="gw1", exit_node_id=used.stable_id))
    found = rig.service.exits.show(ADMIN, "gw1").exit
    assert found is not None
    assert found.id == used.id
    assert [rig.service.exits.show(ADMIN, name).offered for name in ("gw1", "gw2", "gw3")] == [False, True, False]


@pytest.mark.parametrize(
    ("wish", "error", "text"),
    [
        (ExitWish("gw3"), ConflictError, "gw3 is no approved exit"),
        (ExitWish("gw1"), ServiceError, "its own exit"),
        (ExitWish("gw9"), ServiceError, "no such node"),
        (ExitWish("auto", confirm_within_s=1), ServiceError, "no time"),
    ],
)
async def test_fail__nothing_is_sent_that_cannot_be(rig, gateway, wish, error, text):
    channel = connect(rig, SETTINGS)
    with pytest.raises(error, match=text):
        await rig.service.exits.switch(ADMIN, "gw1", wish)
    assert channel.asked == []


async def test_fail__the_gateway_refuses(rig, gateway):
    connect(rig, encode_response(409, b"regions[0]: no region\n", "text/plain"))
    with pytest.raises(ConflictError, match=r"gw1 refuses: regions\[0\]"):
        await rig.service.exits.switch(ADMIN, "gw1", ExitWish("auto"))
    connect(rig, encode_response(400, b"unknown c2n path", "text/plain"))
    with pytest.raises(ConflictError, match="takes no settings"):
        await rig.service.exits.switch(ADMIN, "gw1", ExitWish("auto"))


async def test_fail__who_may_not(rig, gateway):
    with pytest.raises(DeniedError):
        await rig.service.exits.switch(Actor("alice", Role.MEMBER), "gw1", ExitWish("off"))
    with pytest.raises(NodeAwayError):
        await rig.service.exits.switch(ADMIN, "gw1", ExitWish("off"))
