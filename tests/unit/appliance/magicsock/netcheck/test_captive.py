from __future__ import annotations

import asyncio

import pytest

from appliance.magicsock.netcheck.captive import MAX_PROBES, CaptiveProbe, captive_probes, find_captive_portal
from appliance.ports.clock import VirtualClock
from appliance.ports.streams import MemoryDialer
from appliance.proto.http1.head import parse_request_head
from appliance.types.ids import RegionId
from appliance.types.netmap import DerpMap, DerpNode, DerpRegion
from control.derp.endpoints import plain_reply

HOST = "203.0.113.1"
PROBES = (CaptiveProbe(HOST),)


def region(number: int, *hosts: str, port80: bool = True, avoid: bool = False) -> DerpRegion:
    nodes = tuple(DerpNode(f"{host}", RegionId(number), "n.example", ipv4=host, can_port80=port80) for host in hosts)
    return DerpRegion(RegionId(number), f"r{number}", "R", nodes, avoid=avoid)


def test_ok__relays_with_port_80_the_home_region_first() -> None:
    regions = [
        region(1, "203.0.113.1", "none", ""),
        region(2, "203.0.113.2"),
        region(3, "203.0.113.3", port80=False),
        region(4, "203.0.113.4", avoid=True),
        region(5, *(f"203.0.113.{number}" for number in range(50, 60))),
    ]
    probes = captive_probes(DerpMap({item.id: item for item in regions}), RegionId(2))
    assert [probe.host for probe in probes][:3] == ["203.0.113.2", "203.0.113.1", "203.0.113.50"]
    assert len(probes) == MAX_PROBES


def answering(reply: bytes | None) -> MemoryDialer:
    """What a network answers at port 80 of every host; None: what a relay of ours does."""

    async def serve(stream):
        request = await stream.read()
        head, _ = parse_request_head(request)
        assert head.query("t") is not None
        stream.write(plain_reply(head).encode() if reply is None else reply)
        stream.close()

    dialer = MemoryDialer()
    dialer.servers[HOST, 80] = serve
    return dialer


@pytest.mark.parametrize(
    ("reply", "captive"),
    [
        (None, False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\nX-Tailscale-Response: response ts_other\r\n\r\n", True),
        (b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", True),
        (b"nonsense\r\n\r\n", True),
        (b"", None),
    ],
)
async def test_ok__answers(reply: bytes | None, captive: bool | None) -> None:
    assert await find_captive_portal(answering(reply), VirtualClock(), PROBES) is captive


async def test_ok__one_portal_among_the_answers_is_enough_and_silence_says_nothing() -> None:
    dialer = answering(None)
    probes = (*PROBES, CaptiveProbe("203.0.113.2"))
    assert await find_captive_portal(dialer, VirtualClock(), probes) is False

    async def portal(stream):
        await stream.read()
        stream.write(b"HTTP/1.1 200 OK\r\n\r\n")

    dialer.servers["203.0.113.2", 80] = portal
    assert await find_captive_portal(dialer, VirtualClock(), probes) is True
    assert await find_captive_portal(MemoryDialer(), VirtualClock(), probes) is None


async def test_fail__a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.magicsock.netcheck.captive.LIMIT_S", 0.05)

    async def silent(stream):
        await asyncio.Event().wait()

    dialer = MemoryDialer()
    dialer.servers[HOST, 80] = silent
    assert await find_captive_portal(dialer, VirtualClock(), PROBES) is None
