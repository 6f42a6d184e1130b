"""WireGuard's parsers and machine against hostile bytes; the replay window against a plain model."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.crypto.x25519 import clamp
from appliance.ports.randomness import SeededRandomness
from appliance.proto.wireguard import Tunnel, TunnelPeer
from appliance.proto.wireguard.messages import (
    CookieReply,
    Initiation,
    Message,
    Response,
    Transport,
    encode_message,
    parse_message,
)
from appliance.proto.wireguard.replay import ReplayWindow
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError
from appliance.types.keys import NodePrivateKey

SOURCE = AddrPort("192.0.2.1", 1)
u32 = st.integers(0, 2**32 - 1)


def exact(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Initiation, u32, exact(32), exact(48), exact(28), exact(16), exact(16)),
    st.builds(Response, u32, u32, exact(32), exact(16), exact(16), exact(16)),
    st.builds(CookieReply, u32, exact(24), exact(32)),
    st.builds(Transport, u32, st.integers(0, 2**64 - 1), st.binary(min_size=16, max_size=200)),
)


@given(MESSAGES)
@settings(max_examples=100)
def test_ok__round_trip(message: Message) -> None:
    assert parse_message(encode_message(message)) == message


@given(MESSAGES)
@settings(max_examples=50)
def test_fail__truncation(message: Message) -> None:
    data = encode_message(message)
    for size in range(len(data)):
        try:
            parsed = parse_message(data[:size])
        except DecodeError:
            continue
        assert isinstance(parsed, Transport)


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_fail__noise(data: bytes) -> None:
    try:
        parse_message(data)
    except DecodeError:
        return


def pair() -> tuple[Tunnel, Tunnel]:
    random = SeededRandomness(5)
    made = [Tunnel(NodePrivateKey(clamp(random.bytes(32))), random, lambda: 10**18) for _ in range(2)]
    made[0].configure(TunnelPeer(made[1].public), 0.0)
    made[1].configure(TunnelPeer(made[0].public), 0.0)
    return made[0], made[1]


@given(st.lists(st.tuples(st.integers(0, 147), st.integers(0, 255)), max_size=4), st.integers(0, 160))
@settings(max_examples=150)
def test_fail__a_mutated_exchange_never_raises(flips: list[tuple[int, int]], size: int) -> None:
    a, b = pair()
    a.stage(b.public, bytes(64))
    a.flush(b.public, 0.0)
    sides = (a, b)
    for step in range(4):
        for out in sides[step % 2].datagrams_to_send(0.0):
            data = bytearray(out.data)
            for at, value in flips:
                if at < len(data):
                    data[at] ^= value
            receiver = sides[1 - step % 2]
            receiver.receive_datagram(bytes(data[:size]), SOURCE, 0.0)
            receiver.receive_datagram(bytes(data), SOURCE, 0.0)
            receiver.receive_datagram(out.data, SOURCE, 0.0)


@given(st.lists(st.integers(0, 400), max_size=200), st.integers(0, 2**50))
@settings(max_examples=200)
def test_ok__replay_window_against_a_set(offsets: list[int], base: int) -> None:
    window, seen, greatest = ReplayWindow(64), set(), -1
    for offset in offsets:
        counter = base + offset
        wanted = counter not in seen and (counter > greatest or greatest - counter < 56)
        assert window.may_accept(counter) is wanted
        assert window.mark(counter) is wanted
        seen.add(counter)
        greatest = max(greatest, counter)
