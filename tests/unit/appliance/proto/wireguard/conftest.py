"""Two tunnels, a wire between them that a test can disturb, and a clock that stands still until told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.crypto.x25519 import clamp
from appliance.engine.userspace.packet_step import PacketStep
from appliance.ports.randomness import SeededRandomness
from appliance.proto.wireguard import Opened, Outgoing, Settings, Tunnel, TunnelPeer
from appliance.proto.wireguard.cipher import CipherFactory, PythonCipher
from appliance.types.addresses import AddrPort
from appliance.types.keys import NodePrivateKey, NodePublicKey, PresharedKey

A_ADDR = AddrPort("192.0.2.1", 41641)
B_ADDR = AddrPort("192.0.2.2", 41641)
WALL_NS = 1_700_000_000 * 10**9


class Pair:
    """`a` and `b` know each other. `run` carries what waits; `keep(message)` False loses a message."""

    def __init__(
        self,
        settings: Settings,
        psk: PresharedKey | None = None,
        seed: int = 1,
        make_cipher: CipherFactory = PythonCipher,
    ) -> None:
        self.now = 1000.0
        self.wall_ns = WALL_NS
        random = SeededRandomness(seed)
        key_a, key_b = NodePrivateKey(clamp(random.bytes(32))), NodePrivateKey(clamp(random.bytes(32)))
        self.a = Tunnel(key_a, random, lambda: self.wall_ns, settings=settings, make_cipher=make_cipher)
        self.b = Tunnel(key_b, random, lambda: self.wall_ns, settings=settings, make_cipher=make_cipher)
        self.a.configure(TunnelPeer(self.b.public, psk), self.now)
        self.b.configure(TunnelPeer(self.a.public, psk), self.now)
        self.got: dict[NodePublicKey, list[bytes]] = {self.a.public: [], self.b.public: []}
        self.keep: Callable[[Outgoing], bool] = lambda message: True
        self.wire: list[Outgoing] = []

    def advance(self, seconds: float) -> None:
        """Let time pass, running timers when they are due and carrying what they send."""
        end = self.now + seconds
        while True:
            due = min((t for t in (self.a.next_timer(), self.b.next_timer()) if t is not None), default=end + 1)
            if due > end:
                break
            self._clock(max(self.now, due))
            self.a.handle_timer(self.now)
            self.b.handle_timer(self.now)
            self.run()
        self._clock(end)

    def _clock(self, now: float) -> None:
        self.wall_ns += int((now - self.now) * 1e9)
        self.now = now

    def run(self) -> None:
        """Carry messages until both are quiet."""
        for _ in range(1000):
            batch = [(self.a, out) for out in self.a.datagrams_to_send(self.now)]
            batch += [(self.b, out) for out in self.b.datagrams_to_send(self.now)]
            if not batch:
                return
            for sender, out in batch:
                self.wire.append(out)
                if self.keep(out):
                    self.deliver(sender, out.data)
        raise AssertionError("the two never stop talking")

    def deliver(self, sender: Tunnel, data: bytes) -> list[Opened]:
        receiver, source = (self.b, A_ADDR) if sender is self.a else (self.a, B_ADDR)
        opened = receiver.receive_datagram(data, source, self.now)
        self.got[receiver.public].extend(bytes(item.packet) for item in opened)
        return opened

    def send(self, sender: Tunnel, packet: bytes) -> None:
        """User data by the slow path, then carry everything."""
        other = self.b if sender is self.a else self.a
        sender.stage(other.public, packet)
        sender.flush(other.public, self.now)
        self.run()

    def kinds(self) -> list[int]:
        """Types of the messages that went over the wire so far; forgets them."""
        kinds = [out.data[0] for out in self.wire]
        self.wire.clear()
        return kinds


@pytest.fixture
def make_pair(step: PacketStep) -> Callable[..., Pair]:
    def make(psk: PresharedKey | None = None, seed: int = 1, **settings: float) -> Pair:
        return Pair(Settings(**settings), psk, seed, step.make_cipher)  # type: ignore[arg-type]  # each test names real fields

    return make


@pytest.fixture
def pair(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair()
