"""Questions to nodes: who may ask, what is sent, what an answer means."""

from __future__ import annotations

import pytest

from appliance.proto.control import messages as wire
from appliance.proto.http1.head import encode_response, parse_request_head
from control.service.actor import Actor
from control.service.errors import DeniedError, NotFoundError, ServiceError
from control.service.requests import NodeAwayError, NodeSilentError
from control.state.records import Role

from .conftest import ADMIN


class Channel:
    """Answers what a test put in; time stands still but for `took_s` per question."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, wire.PingRequest, int, float]] = []
        self.time = 100.0

    def now(self) -> float:
        return self.time

    async def ask(self, node, request, answers, limit_s):
        self.asked.append((node.given_name, request, answers, limit_s))
        self.time += 0.25
        return self.answers


@pytest.fixture
async def node(rig):
    return await rig.join(1)


def connect(rig, *answers: bytes) -> Channel:
    channel = Channel(*answers)
    rig.service.requests.connect(channel)
    return channel


async def test_ok__alive(rig, node):
    channel = connect(rig, b"")
    assert await rig.service.requests.alive(ADMIN, node.given_name) == 0.25
    assert [(name, asked.types) for name, asked, _, _ in channel.asked] == [("gw1", "")]


async def test_ok__peer_pings(rig, node):
    peer = await rig.join(2)
    good = wire.PingResponse(type="disco", latency_seconds=0.01, endpoint="192.0.2.1:1")
    relayed = wire.PingResponse(type="TSMP", latency_seconds=0.02, derp_region_id=7, peer_api_port=58436)
    bad = wire.PingResponse(type="peerapi", err="no peer API")
    channel = connect(rig, *map(wire.encode, (good, relayed, bad)))
    found = await rig.service.requests.ping_peer(ADMIN, "gw1", "gw2", ["disco", "TSMP", "disco", "peerapi"])
    assert [(item.kind, item.error, item.endpoint, item.relay, item.peerapi_port) for item in found] == [
        ("disco", "", "192.0.2.1:1", "", 0),
        ("TSMP", "", "", "7", 58436),
        ("peerapi", "no peer API", "", "", 0),
    ]
    _, request, answers, _ = channel.asked[0]
    assert (request.types, request.ip, answers) == ("disco,TSMP,peerapi", str(peer.ipv4), 3)


async def test_ok__c2n_is_sent_as_http_and_written_down(rig, node):
    channel = connect(rig, encode_response(405, b"no\xff", "text/plain"))
    answer = await rig.service.requests.c2n(ADMIN, "gw1", "/update?force=true", method="POST", body=b"{}", limit_s=5)
    assert (answer.status, answer.content_type, answer.body) == (405, "text/plain", "no\ufffd")
    payload = channel.asked[0][1].payload
    head, size = parse_request_head(payload)
    assert (head.method, head.target, payload[size:]) == ("POST", "/update?force=true", b"{}")
    assert head.header("c2n-handler-timeout") == "5s"
    async with rig.service._core.read() as tx:
        entry = (await tx.audit_entries(1))[0]
    assert (entry.action, entry.target) == ("node.c2n", f"node:{node.id}")
    assert "force" not in entry.after


@pytest.mark.parametrize("name", ["alive", "c2n", "ping_peer"])
async def test_fail__silent_node(rig, node, name):
    connect(rig)
    arguments = {"alive": (), "c2n": ("/echo",), "ping_peer": ("gw1", ["disco"])}[name]
    with pytest.raises(NodeSilentError, match="gw1"):
        await getattr(rig.service.requests, name)(ADMIN, "gw1", *arguments)


async def test_fail__answers_that_are_none(rig, node):
    connect(rig, b"nonsense")
    with pytest.raises(NodeSilentError):
        await rig.service.requests.c2n(ADMIN, "gw1", "/echo")
    connect(rig, b"[]")
    with pytest.raises(NodeSilentError):
        await rig.service.requests.ping_peer(ADMIN, "gw1", "gw1", ["disco"])


@pytest.mark.parametrize(
    ("path", "method", "body"),
    [("echo", "GET", b""), ("/a b", "GET", b""), ("/", "G T", b""), ("/", "GET", bytes(70000))],
)
async def test_fail__no_request(rig, node, path, method, body):
    channel = connect(rig, b"")
    with pytest.raises(ServiceError):
        await rig.service.requests.c2n(ADMIN, "gw1", path, method=method, body=body)
    assert channel.asked == []


async def test_fail__unknown_kind_node_and_role(rig, node):
    connect(rig, b"")
    with pytest.raises(ServiceError, match="smoke"):
        await rig.service.requests.ping_peer(ADMIN, "gw1", "gw1", ["smoke"])
    with pytest.raises(NotFoundError):
        await rig.service.requests.alive(ADMIN, "nobody")
    auditor = Actor("bob", Role.AUDITOR)
    for ask in (
        rig.service.requests.alive(auditor, "gw1"),
        rig.service.requests.c2n(auditor, "gw1", "/echo"),
        rig.service.requests.ping_peer(auditor, "gw1", "gw1", ["disco"]),
    ):
        with pytest.raises(DeniedError):
            await ask


async def test_fail__without_a_channel(rig, node):
    with pytest.raises(NodeAwayError):
        await rig.service.requests.alive(ADMIN, "gw1")
