"""What is kept of peers' handshakes, with an engine that only has the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from appliance.daemon.peer_handshakes import PeerHandshakeKeeper, PeerHandshakes
from appliance.ports.clock import VirtualClock
from appliance.ports.engine import PeerStatistics
from appliance.ports.store import MemoryStore
from appliance.proto.wireguard.timestamp import encode_tai64n
from appliance.state.document import Document
from appliance.types.errors import StateError
from appliance.types.keys import NodePublicKey

ANN, BOB = NodePublicKey(b"a" * 32), NodePublicKey(b"b" * 32)


@dataclass
class Numbers:
    last_timestamp: bytes = bytes(12)
    greatest_timestamps: dict[NodePublicKey, bytes] = field(default_factory=dict)
    peers: dict[NodePublicKey, PeerStatistics] = field(default_factory=dict)

    def statistics(self) -> Mapping[NodePublicKey, PeerStatistics]:
        return self.peers


def keeper(store: MemoryStore, clock: VirtualClock) -> PeerHandshakeKeeper:
    return PeerHandshakeKeeper(Document(store, "peers.json", PeerHandshakes), clock)


def stamp(clock: VirtualClock, ahead_s: float = 0.0) -> bytes:
    return encode_tai64n(int((clock.wall_now().timestamp() + ahead_s) * 1e9))


async def test_ok__the_next_run_knows_them() -> None:
    store, clock, engine = MemoryStore(), VirtualClock(), Numbers()
    first = keeper(store, clock)
    assert first.load() == {}
    engine.greatest_timestamps[ANN] = stamp(clock)
    engine.peers[ANN] = PeerStatistics(last_handshake=clock.wall_now())
    clock.advance(200)
    engine.greatest_timestamps[BOB] = stamp(clock)
    engine.peers[BOB] = PeerStatistics(last_handshake=clock.wall_now())
    first.note(engine)
    await first.poll(engine)
    clock.jump_wall(-1e8)
    second = keeper(store, clock)
    assert second.load() == engine.greatest_timestamps
    assert second.recent() == (BOB,)


async def test_ok__at_most_one_write_a_minute_and_none_without_news() -> None:
    store, clock, engine = MemoryStore(), VirtualClock(), Numbers()
    first = keeper(store, clock)
    for second in range(60):
        engine.greatest_timestamps[ANN] = stamp(clock)
        first.note(engine)
        await first.poll(engine)
        assert len(store.writes) == 1, second
        clock.advance(1)
    await first.finish(engine)
    assert len(store.writes) == 2
    await first.finish(engine)
    assert len(store.writes) == 2


async def test_ok__somebody_new_is_kept_within_seconds() -> None:
    """A gateway that is killed soon after its first words with a peer greets it; else the peer is cut off for 15 s."""
    store, clock, engine = MemoryStore(), VirtualClock(), Numbers()
    first = keeper(store, clock)
    for peer, after_s in ((ANN, 1), (BOB, 6)):
        clock.advance(after_s)
        engine.last_timestamp = stamp(clock)
        engine.peers[peer] = PeerStatistics(last_handshake=clock.wall_now())
        first.note(engine)
        await first.poll(engine)
    second = keeper(store, clock)
    second.load()
    assert set(second.recent()) == {ANN, BOB}
    for _ in range(50):
        clock.advance(1)
        engine.last_timestamp = stamp(clock)
        engine.peers[BOB] = PeerStatistics(last_handshake=clock.wall_now())
        first.note(engine)
        await first.poll(engine)
    assert len(store.writes) == 2, "known ones wait for their minute"


async def test_ok__a_peer_with_a_clock_of_the_future_is_not_locked_out() -> None:
    store, clock, engine = MemoryStore(), VirtualClock(), Numbers()
    first = keeper(store, clock)
    engine.greatest_timestamps = {ANN: stamp(clock, 86000), BOB: stamp(clock, 400 * 86400)}
    await first.finish(engine)
    assert set(keeper(store, clock).load()) == {ANN}


async def test_ok__our_clock_a_year_behind_keeps_what_peers_said() -> None:
    store, clock, engine = MemoryStore(), VirtualClock(), Numbers()
    engine.greatest_timestamps = {ANN: stamp(clock)}
    engine.last_timestamp = stamp(clock)  # ours never goes back
    clock.jump_wall(-365 * 86400)
    await keeper(store, clock).finish(engine)
    assert set(keeper(store, clock).load()) == {ANN}


@pytest.mark.parametrize("data", [b"{", b'{"format":1}'])
def test_fail__damaged(data: bytes) -> None:
    store = MemoryStore()
    store.documents["peers.json"] = data
    made = keeper(store, VirtualClock())
    assert made.load() == {}
    assert made.recent() == ()


async def test_fail__a_write_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock, engine = MemoryStore(), VirtualClock(), Numbers(bytes(12), {ANN: b"\1" * 12})
    made = keeper(store, clock)
    made.note(engine)

    def full(_name: str, _data: bytes) -> None:
        raise StateError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write", full)
        with pytest.raises(StateError):
            await made.poll(engine)
    clock.advance(60)
    await made.poll(engine)
    assert set(keeper(store, clock).load()) == {ANN}
