"""The kernel's WireGuard device, and the sockets with which the kernel engine stands beside it.

`WireGuardDevice` is the device and its peers. `LoopbackPort` is where the device's packets for peers without a direct
address arrive: each peer owns an address of 127.64.0.0/10 (`index` counts from its start), so that the destination
names the peer. `MeshPort` carries packets of IP protocol 99 through the tunnel. `CopyPort` sees copies of what comes to
the device's UDP port and is not WireGuard, and sends from that port. All calls are quick and never block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from appliance.ports.packets import MemoryUdpPort, UdpPort
from appliance.types.addresses import AddrPort, Prefix
from appliance.types.keys import NodePrivateKey, NodePublicKey, PresharedKey


@dataclass(frozen=True, slots=True)
class PeerSetting:
    """A change of one peer; None leaves a value as it is. `update_only`: an unknown peer stays unknown."""

    key: NodePublicKey
    endpoint: AddrPort | None = None
    allowed_ips: tuple[Prefix, ...] | None = None
    preshared_key: PresharedKey | None = None
    keepalive_s: int | None = None
    remove: bool = False
    update_only: bool = False


@dataclass(frozen=True, slots=True)
class DevicePeer:
    """A peer as the device has it. `last_handshake` is Unix time in seconds, 0 before the first."""

    key: NodePublicKey
    endpoint: AddrPort | None = None
    last_handshake: float = 0.0
    rx_bytes: int = 0
    tx_bytes: int = 0


class WireGuardDevice(Protocol):
    @property
    def name(self) -> str: ...

    def open(self, port: int, mark: int) -> bool:
        """Make the device with its UDP port (0 any) and bring it up. True: it was there already, with its peers.

        Raises `KernelLacksWireGuardError`, `UnderlayError`, `PrivilegeError`.
        """
        ...

    def listen_port(self) -> int: ...

    def set_listen_port(self, port: int) -> None:
        """Raises OSError when it is taken."""
        ...

    def set_private_key(self, key: NodePrivateKey) -> None: ...

    def set_peers(self, settings: Iterable[PeerSetting]) -> None:
        """In the given order. Raises OSError."""
        ...

    def peers(self) -> Sequence[DevicePeer]: ...

    def read_peers(self, done: Callable[[Sequence[DevicePeer]], None]) -> None:
        """Call `done` soon with every peer; nothing happens while an earlier reading goes on."""
        ...

    def close(self) -> None:
        """Remove the device."""
        ...


class LoopbackPort(Protocol):
    @property
    def port(self) -> int: ...

    def set_reader(self, callback: Callable[[], None] | None) -> None: ...

    def receive(self, limit: int = 64) -> Sequence[tuple[int, bytes]]:
        """What the device sent, with the index of the peer's address."""
        ...

    def send(self, index: int, packets: Sequence[bytes], to_port: int) -> None:
        """Give packets to the device as if they came from that peer's address. Full buffers drop."""
        ...

    def send_as(self, source: AddrPort, packets: Sequence[bytes], to_port: int) -> None:
        """Give packets to the device as if they came from `source`. Full buffers drop; other failures raise OSError."""
        ...

    def close(self) -> None: ...


class MeshPort(Protocol):
    def set_reader(self, callback: Callable[[], None] | None) -> None: ...

    def receive(self, limit: int = 64) -> Sequence[bytes]:
        """Whole IP packets that came through the tunnel for this host."""
        ...

    def send(self, packet: bytes) -> None:
        """An IP packet into the tunnel. Raises OSError."""
        ...

    def close(self) -> None: ...


class CopyPort(UdpPort, Protocol):
    """`local` names the device's port."""

    def move(self, port: int) -> None:
        """The device has another port now. Raises OSError."""
        ...


@dataclass
class MemoryWireGuardDevice:
    """The twin of `WireGuardDevice`. A test changes `table` as the kernel would."""

    name: str = "waypost0"
    port: int = 0
    private_key: NodePrivateKey | None = None
    table: dict[NodePublicKey, DevicePeer] = field(default_factory=dict)
    settings: list[PeerSetting] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)
    opened: bool = False
    _waiting: Callable[[Sequence[DevicePeer]], None] | None = None

    def open(self, port: int, mark: int) -> bool:
        self.port, self.opened = port or 50000, True
        return bool(self.table)

    def listen_port(self) -> int:
        return self.port

    def set_listen_port(self, port: int) -> None:
        if port in self.taken:
            raise OSError("port is taken")
        self.port = port

    def set_private_key(self, key: NodePrivateKey) -> None:
        self.private_key = key

    def set_peers(self, settings: Iterable[PeerSetting]) -> None:
        for setting in settings:
            self.settings.append(setting)
            known = self.table.get(setting.key)
            if setting.remove:
                self.table.pop(setting.key, None)
            elif known is not None or not setting.update_only:
                old = known or DevicePeer(setting.key)
                endpoint = setting.endpoint or old.endpoint
                self.table[setting.key] = DevicePeer(old.key, endpoint, old.last_handshake, old.rx_bytes, old.tx_bytes)

    def peers(self) -> Sequence[DevicePeer]:
        return list(self.table.values())

    def read_peers(self, done: Callable[[Sequence[DevicePeer]], None]) -> None:
        self._waiting = done

    def answer(self) -> None:
        """Give the reading that was asked for."""
        if self._waiting is not None:
            done, self._waiting = self._waiting, None
            done(self.peers())

    def close(self) -> None:
        self.opened = False
        self.table.clear()


@dataclass
class MemoryLoopbackPort:
    """The twin of `LoopbackPort`: `given` is what the device got, `(index or source, packet)`."""

    port: int = 42642
    given: list[tuple[int | AddrPort, bytes]] = field(default_factory=list)
    closed: bool = False
    _arrived: list[tuple[int, bytes]] = field(default_factory=list)
    _reader: Callable[[], None] | None = None

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        self._reader = callback

    def deliver(self, index: int, packet: bytes) -> None:
        """The device sends."""
        self._arrived.append((index, packet))
        if self._reader is not None:
            self._reader()

    def receive(self, limit: int = 64) -> Sequence[tuple[int, bytes]]:
        taken, self._arrived = self._arrived[:limit], self._arrived[limit:]
        return taken

    def send(self, index: int, packets: Sequence[bytes], to_port: int) -> None:
        self.given.extend((index, packet) for packet in packets)

    def send_as(self, source: AddrPort, packets: Sequence[bytes], to_port: int) -> None:
        self.given.extend((source, packet) for packet in packets)

    def close(self) -> None:
        self.closed = True


@dataclass
class MemoryMeshPort:
    """The twin of `MeshPort`."""

    sent: list[bytes] = field(default_factory=list)
    _arrived: list[bytes] = field(default_factory=list)
    _reader: Callable[[], None] | None = None

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        self._reader = callback

    def deliver(self, packet: bytes) -> None:
        """A packet comes through the tunnel."""
        self._arrived.append(packet)
        if self._reader is not None:
            self._reader()

    def receive(self, limit: int = 64) -> Sequence[bytes]:
        taken, self._arrived = self._arrived[:limit], self._arrived[limit:]
        return taken

    def send(self, packet: bytes) -> None:
        self.sent.append(packet)

    def close(self) -> None:
        self._reader = None


class MemoryCopyPort(MemoryUdpPort):
    """The twin of `CopyPort`."""

    def move(self, port: int) -> None:
        self._local = AddrPort(self._local.ip, port)
