"""What a peer is asked, and how much of its answer is taken."""

from __future__ import annotations

import pytest

from appliance.peerapi.client import NoAnswerError, ask_peer
from appliance.ports.streams import MemoryDialer, MemoryStream
from appliance.types.addresses import AddrPort

THERE = AddrPort("fd7a:115c:a1e0::2", 4444)


class Peer(MemoryDialer):
    """`asked` is the last request."""

    asked = b""


def dialer(*answer: bytes) -> Peer:
    """A peer that says the parts of its answer, and then nothing more."""

    async def serve(stream: MemoryStream) -> None:
        made.asked = await stream.read()
        for part in answer:
            stream.write(part)
        stream.close()

    made = Peer()
    made.servers[THERE.ip, THERE.port] = serve
    return made


async def test_ok__a_form_and_an_answer_in_parts() -> None:
    peer = dialer(b"HTTP/1.1 429 Too Many\r\nContent-", b"Length: 6\r\n\r\nwa", b"it!!and more")
    assert await ask_peer(peer, THERE, "POST", "/v0/wol", form=b"mac=x", most=100) == (429, b"wait!!")
    head, _, body = peer.asked.partition(b"\r\n\r\n")
    assert body == b"mac=x"
    assert head.splitlines()[1:] == [
        b"Host: [fd7a:115c:a1e0::2]:4444",
        b"Content-Type: application/x-www-form-urlencoded",
        b"Content-Length: 5",
        b"Connection: close",
    ]


@pytest.mark.parametrize(("most", "taken"), [(0, b""), (3, b"abc"), (9, b"abcd")])
async def test_ok__a_bounded_part_of_the_body(most: int, taken: bytes) -> None:
    peer = dialer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd")
    assert await ask_peer(peer, THERE, "GET", "/", most=most) == (200, taken)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", b"?\r\n\r\n"]
)
async def test_fail__half_an_answer(answer: bytes) -> None:
    with pytest.raises(NoAnswerError):
        await ask_peer(dialer(answer), THERE, "GET", "/", most=9)
