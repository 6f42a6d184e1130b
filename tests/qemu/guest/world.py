"""Kernel engines in network namespaces of one machine, joined by a cable, with a relay in this process.

a: 192.0.2.1, 2001:db8::1 ---- veth ---- 192.0.2.2, 2001:db8::2 :b      in the tunnel 100.64.0.N, fd7a:115c:a1e0::N
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

from appliance.crypto.x25519 import clamp, public_key
from appliance.drivers.loopback import LinuxLoopbackPort, LinuxMeshPort
from appliance.drivers.raw_udp import RawUdpPort, open_raw_udp_ports
from appliance.drivers.sockets import open_socket
from appliance.drivers.udp import open_udp_ports
from appliance.drivers.wireguard_device import NetlinkWireGuardDevice
from appliance.engine.kernel import KernelEngine
from appliance.engine.kernel.steering import unsteering_document
from appliance.ports.clock import SystemClock
from appliance.ports.engine import EngineDiff, EnginePeer
from appliance.ports.firewall import FirewallError
from appliance.ports.underlay import PARKED, PeerActivity, PeerPath
from appliance.types.addresses import AddrPort
from appliance.types.keys import NodePrivateKey, NodePublicKey
from tests.lab.namespaces import Lab, Namespace

PORT = 41641
MARK = 0x80000
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def inside(host: Namespace) -> Iterator[None]:
    """This thread's sockets are made in the namespace."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/proc/{host.anchor.pid}/ns/net", os.O_RDONLY)
    try:
        assert _LIBC.setns(there, 0x40000000) == 0
        yield
    finally:
        assert _LIBC.setns(own, 0x40000000) == 0
        os.close(own)
        os.close(there)


@dataclass
class Sink:
    """Keeps what the engine tells; relays in this process while `relaying`."""

    relay: Callable[[NodePublicKey, Sequence[bytes]], None]
    on_wanted: Callable[[NodePublicKey], None] = lambda peer: None
    relaying: bool = True
    datagrams: list[tuple[AddrPort, bytes]] = field(default_factory=list)
    relayed: int = 0
    wanted: list[NodePublicKey] = field(default_factory=list)
    reports: list[PeerActivity] = field(default_factory=list)

    def datagrams_received(self, batch: Sequence[tuple[AddrPort, bytes]]) -> None:
        self.datagrams += batch

    def relay_packets(self, peer: NodePublicKey, packets: Sequence[bytes]) -> None:
        self.relayed += len(packets)
        if self.relaying:
            self.relay(peer, packets)

    def peer_wanted(self, peer: NodePublicKey) -> None:
        self.wanted.append(peer)
        self.on_wanted(peer)

    def activity(self, reports: Sequence[PeerActivity]) -> None:
        self.reports += reports

    def send_failed(self, peer: NodePublicKey | None, to: AddrPort, error: OSError) -> None:
        raise AssertionError(f"send to {to} failed: {error}")


def _base64(key: NodePublicKey) -> str:
    return b64encode(key.raw).decode()


class Node:
    """`steers`: nftables takes the three rules, so that no raw sockets are needed."""

    def __init__(self, world: World, host: Namespace, number: int) -> None:
        self.world, self.host, self.number = world, host, number
        self.private = NodePrivateKey(clamp(bytes((number,)) * 32))
        self.key = public_key(self.private)
        self.v4, self.v6 = f"100.64.0.{number}", f"fd7a:115c:a1e0::{number}"
        self.addr = AddrPort(f"192.0.2.{number}", PORT)
        self.addr6 = AddrPort(f"2001:db8::{number}", PORT)
        self.steers = True
        self.engine = self.make()

    def make(self, *, adopt: bool = False) -> KernelEngine:
        """A new engine for the same device, with a new sink."""
        self.sink = Sink(lambda peer, packets: self.world.relay(self.key, peer, packets))
        self.engine = KernelEngine(
            NetlinkWireGuardDevice("waypost0", 1280),
            lambda: LinuxLoopbackPort(MARK, self._open_socket),
            lambda: LinuxMeshPort("waypost0"),
            lambda port: open_udp_ports(port, mark=MARK),
            self._open_copies,
            self._steer,
            SystemClock(),
            port=PORT,
            mark=MARK,
            adopt=adopt,
        )
        self.engine.set_sink(self.sink)
        return self.engine

    def _open_socket(self, family: int, kind: int, protocol: int = 0, /) -> socket.socket:
        """Also when the engine runs: it asks for routes now and then."""
        with inside(self.host):
            return open_socket(family, kind, protocol)

    def _open_copies(self, port: int) -> Sequence[RawUdpPort]:
        ignored = ("lo", "waypost0")
        with inside(self.host):
            return open_raw_udp_ports(port, mark=MARK, ignored=ignored, sockets=self._open_socket)

    def _steer(self, document: str) -> None:
        if not self.steers and document != unsteering_document():
            raise FirewallError("this kernel has no fib")
        self.host.nft(document)

    async def start(self, *others: Node) -> None:
        with inside(self.host):
            await self.engine.start()
        await self.engine.apply(EngineDiff(self.private, replace=True, upsert=tuple(o.as_peer() for o in others)))

    async def up(self, *others: Node) -> None:
        """Start, with addresses and routes as the router would set them."""
        await self.start(*others)
        self.host.ip(f"addr add {self.v4}/10 dev waypost0")
        self.host.ip(f"addr add {self.v6}/48 dev waypost0 nodad")

    def as_peer(self) -> EnginePeer:
        return EnginePeer(self.key, (ip_network(f"{self.v4}/32"), ip_network(f"{self.v6}/128")))

    def path(self, other: Node, path: PeerPath = PARKED) -> None:
        self.engine.set_path(other.key, path)

    def device(self) -> str:
        return self.host.run("wg", "show", "waypost0", "dump")

    def handshake_with(self, other: Node) -> str:
        """When the session began, in the device's words."""
        shown = self.host.run("wg", "show", "waypost0", "latest-handshakes")
        return next(line.split("\t")[1] for line in shown.splitlines() if line.startswith(_base64(other.key)))

    def endpoint_of(self, other: Node) -> str:
        return self.host.run("wg", "show", "waypost0", "endpoints").split("\t")[1].strip()

    async def close(self) -> None:
        with inside(self.host):
            await self.engine.close()


def two_hosts(lab: Lab) -> list[Namespace]:
    """Joined by a cable."""
    hosts = [lab.namespace(name) for name in ("a", "b")]
    lab.cable(hosts[0], "eth0", hosts[1], "eth0")
    for number, host in enumerate(hosts, 1):
        host.ip(f"addr add 192.0.2.{number}/24 dev eth0")
        host.ip(f"addr add 2001:db8::{number}/64 dev eth0 nodad")
    return hosts


class World:
    """New engines on hosts that all tests share: making hosts takes long in an emulated machine."""

    def __init__(self, hosts: Sequence[Namespace]) -> None:
        self.a, self.b = (Node(self, host, number) for number, host in enumerate(hosts, 1))

    async def up(self) -> tuple[Node, Node]:
        await self.a.up(self.b)
        await self.b.up(self.a)
        return self.a, self.b

    def relay(self, source: NodePublicKey, to: NodePublicKey, packets: Sequence[bytes]) -> None:
        target = self.a if to == self.a.key else self.b
        asyncio.get_running_loop().call_soon(target.engine.inject, source, list(packets))

    async def close(self) -> None:
        await self.a.close()
        await self.b.close()


async def ping(source: Node, to: str, count: int = 3, wait_s: float = 10.0) -> bool:
    """Whether every ping is answered."""
    command = (*source.host.enter, "ping", "-q", "-n", "-i", "0.2", "-W", f"{wait_s:g}", "-c", str(count), to)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return f" {count} received" in output.decode()


async def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.05)


class Transfer:
    """A TCP stream of numbered bytes from one node to the other, for as long as wanted."""

    def __init__(self, source: Node, to: Node) -> None:
        self.source, self.to = source, to
        self.received = 0
        self.wrong = False
        self.longest_pause_s = 0.0
        self._last = 0.0

    async def start(self) -> None:
        with inside(self.to.host):
            listener = socket.create_server((self.to.v4, 5000))
        listener.setblocking(False)
        with inside(self.source.host):
            sender = socket.socket()
        sender.setblocking(False)
        loop = asyncio.get_running_loop()
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        await loop.sock_connect(sender, (self.to.v4, 5000))
        receiver, _ = await accepting
        listener.close()
        self._reader, self._answering = await asyncio.open_connection(sock=receiver)
        self._unused, self._writer = await asyncio.open_connection(sock=sender)
        self._last = time.monotonic()
        self._running = True
        self._tasks = [asyncio.ensure_future(self._send()), asyncio.ensure_future(self._receive())]

    async def _send(self) -> None:
        block = bytes(range(256)) * 32
        while self._running:
            self._writer.write(block)
            await self._writer.drain()
            await asyncio.sleep(0.02)
        self._writer.write_eof()

    async def _receive(self) -> None:
        while data := await self._reader.read(65536):
            now = time.monotonic()
            self.longest_pause_s = max(self.longest_pause_s, now - self._last)
            self._last = now
            expected = bytes((self.received + n) % 256 for n in range(len(data)))
            self.wrong = self.wrong or data != expected
            self.received += len(data)

    async def more(self, size: int = 65536, seconds: float = 15.0) -> None:
        """Wait until that much more has come."""
        goal = self.received + size
        await until(lambda: self.received >= goal or self._tasks[1].done(), seconds)
        assert self.received >= goal, "the stream ended"

    async def finish(self) -> int:
        """End it; the bytes that came."""
        self._running = False
        await asyncio.gather(*self._tasks)
        self._writer.close()
        self._answering.close()
        assert not self.wrong
        return self.received
