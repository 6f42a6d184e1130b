"""`ping --peerapi` against servers of every kind."""

from __future__ import annotations

import pytest

from appliance.peerapi.probe import ProbeFailedError, probe
from appliance.ports.clock import SystemClock
from appliance.ports.streams import MemoryDialer, MemoryStream
from appliance.types.addresses import AddrPort

THERE = AddrPort("fd7a:115c:a1e0::2", 4444)


def dialer(answer: bytes, asked: list[bytes] | None = None) -> MemoryDialer:
    async def serve(stream: MemoryStream) -> None:
        request = await stream.read()
        if asked is not None:
            asked.append(request)
        stream.write(answer)
        stream.close()

    made = MemoryDialer()
    made.servers[THERE.ip, THERE.port] = serve
    return made


async def test_ok__head_of_the_root() -> None:
    asked: list[bytes] = []
    assert await probe(dialer(b"HTTP/1.1 200 OK\r\n\r\n", asked), THERE, SystemClock()) >= 0
    assert asked[0].startswith(b"HEAD / HTTP/1.1\r\nHost: [fd7a:115c:a1e0::2]:4444\r\n")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", b"HTTP/1.1 403 Forbidden\r\n\r\n", b"nonsense\r\n\r\n"])
async def test_fail__no_good_answer(answer: bytes) -> None:
    with pytest.raises(ProbeFailedError):
        await probe(dialer(answer), THERE, SystemClock())


async def test_fail__nobody_there() -> None:
    with pytest.raises(ProbeFailedError, match="nothing listens"):
        await probe(MemoryDialer(), THERE, SystemClock())


async def test_fail__no_answer_in_time() -> None:
    async def mute(stream: MemoryStream) -> None:
        await stream.read()

    made = MemoryDialer()
    made.servers[THERE.ip, THERE.port] = mute
    with pytest.raises(ProbeFailedError, match="in time"):
        await probe(made, THERE, SystemClock(), timeout_s=0.01)
