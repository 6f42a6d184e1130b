"""A kernel engine over twins of what the kernel gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network

import pytest

from appliance.engine.kernel import KernelEngine
from appliance.ports.engine import EngineDiff, EnginePeer
from appliance.ports.firewall import FirewallError
from appliance.ports.packets import MemoryUdpPort, Segments
from appliance.ports.wireguard_device import (
    MemoryCopyPort,
    MemoryLoopbackPort,
    MemoryMeshPort,
    MemoryWireGuardDevice,
)
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError
from appliance.types.keys import NodePublicKey
from tests.contract.world import RecordingSink, World

KEY = NodePublicKey(b"\x07" * 32)
FAR = AddrPort("192.0.2.9", 41641)
PORT = 41641


class Bench:
    """`sent` is what left by path finding's sockets; `documents` what nftables took while it does not `refuse`;
    `steered` whether that still stands."""

    def __init__(self) -> None:
        self.world = World()
        self.device = MemoryWireGuardDevice()
        self.loopback = MemoryLoopbackPort()
        self.mesh = MemoryMeshPort()
        self.documents: list[str] = []
        self.sent: list[tuple[AddrPort, bytes]] = []
        self.refuse = self.refuse_copies = False
        self.steered = True
        self.udp: list[MemoryUdpPort] = []
        self.copies: list[MemoryCopyPort] = []
        self.sink = RecordingSink(lambda peer, packets: None, clock=self.world.clock)
        self.engine = self.make()

    def make(self, *, adopt: bool = False) -> KernelEngine:
        self.engine = KernelEngine(
            self.device,
            lambda: self.loopback,
            lambda: self.mesh,
            self._open,
            self._open_copies,
            self._steer,
            self.world.clock,
            steered=lambda: self.steered,
            port=PORT,
            adopt=adopt,
            loop=self.world.loop,
        )
        self.engine.set_sink(self.sink)
        return self.engine

    def _open(self, port: int) -> Sequence[MemoryUdpPort]:
        self.udp = [MemoryUdpPort(AddrPort(host, port or 50000), self._send) for host in ("0.0.0.0", "::")]
        return self.udp

    def _open_copies(self, port: int) -> Sequence[MemoryCopyPort]:
        if self.refuse_copies:
            raise UnderlayError("no raw sockets")
        self.copies = [MemoryCopyPort(AddrPort(host, port), self._send) for host in ("0.0.0.0", "::")]
        return self.copies

    def _steer(self, document: str) -> None:
        if self.refuse:
            raise FirewallError("no fib")
        self.steered = True
        self.documents.append(document)

    def _send(self, local: AddrPort, to: AddrPort, batch: Segments) -> None:
        self.sent += [(to, bytes(packet)) for packet in batch]

    async def start(self) -> None:
        await self.engine.start()
        peer = EnginePeer(KEY, (ip_network("100.64.0.7/32"), ip_network("10.0.0.0/8")))
        await self.engine.apply(EngineDiff(replace=True, upsert=(peer,)))

    @property
    def endpoint(self) -> AddrPort | None:
        return self.device.table[KEY].endpoint

    def change(self, *, rx: int = 0, tx: int = 0, endpoint: AddrPort | None = None, handshake: float = 0.0) -> None:
        """What the kernel does by itself."""
        old = self.device.table[KEY]
        self.device.table[KEY] = replace(
            old,
            rx_bytes=old.rx_bytes + rx,
            tx_bytes=old.tx_bytes + tx,
            endpoint=endpoint or old.endpoint,
            last_handshake=handshake or old.last_handshake,
        )

    def read(self, seconds: float = 3.1) -> None:
        """Time passes; the device is read whenever the engine asks."""
        for _ in range(round(seconds * 10)):
            self.world.advance(0.1)
            self.device.answer()


@pytest.fixture
async def bench() -> Bench:
    made = Bench()
    await made.start()
    return made
