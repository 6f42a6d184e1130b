"""What the kernel engine keeps of a peer, and the loopback address that stands for it while it has no direct one."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from ipaddress import IPv4Address

from appliance.engine.userspace.allowed_ips import AllowedIPs
from appliance.ports.engine import EnginePeer
from appliance.ports.underlay import PARKED, PeerPath
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError
from appliance.types.keys import NodePublicKey

FIRST_ADDRESS = int(IPv4Address("127.64.0.0"))
ADDRESSES = 1 << 22
HELD = 128
MAX_RELAYS = 4


class KernelPeer:
    """`endpoint` is where the device last sent, as far as we know; `moved_at` when we set it.

    `injected` counts bytes that came by relay server since the counters were read; `roamed_at` since when the device
    sends to a far address although the path says otherwise, None when it does not. `relays` are the peer relays, by
    address and number, from which its packets are taken, the newest last.
    """

    __slots__ = (
        "endpoint",
        "held",
        "index",
        "injected",
        "key",
        "last_handshake",
        "moved_at",
        "path",
        "relays",
        "roamed_at",
        "rx_before",
        "rx_bytes",
        "setting",
        "tx_before",
        "tx_bytes",
        "wanted_at",
    )

    def __init__(self, key: NodePublicKey, index: int) -> None:
        self.key = key
        self.index = index
        self.setting: EnginePeer | None = None
        self.path: PeerPath = PARKED
        self.endpoint: AddrPort | None = None
        self.held: deque[bytes] = deque(maxlen=HELD)
        self.relays: deque[tuple[AddrPort, int]] = deque()
        self.wanted_at = self.moved_at = float("-inf")
        self.roamed_at: float | None = None
        self.injected = 0
        self.rx_bytes = self.tx_bytes = 0
        self.rx_before = self.tx_before = 0
        self.last_handshake = 0.0

    @property
    def parked(self) -> bool:
        return self.path.direct is None and not self.path.relay

    @property
    def direct_only(self) -> bool:
        """Whether the device itself can do what the path says."""
        return self.path.direct is not None and not self.path.relay and self.path.vni is None

    def proxy_address(self, port: int) -> AddrPort:
        return AddrPort(str(IPv4Address(FIRST_ADDRESS + self.index)), port)

    def wished_endpoint(self, port: int) -> AddrPort:
        """What the device's endpoint should be; `port` is the proxy's."""
        return self.path.direct if self.direct_only and self.path.direct else self.proxy_address(port)

    def reset_counters(self) -> None:
        """The device forgot the peer: it counts from zero again."""
        self.rx_before, self.tx_before = self.rx_bytes, self.tx_bytes
        self.injected = 0
        self.last_handshake = 0.0


def proxied(endpoint: AddrPort | None) -> bool:
    """Whether the device sends to us, not to the network."""
    return endpoint is None or endpoint.ip.startswith("127.")


class PeerTable:
    """Peers by key, by the number of their loopback address, and by what they may send from inside the tunnel."""

    def __init__(self) -> None:
        self._by_key: dict[NodePublicKey, KernelPeer] = {}
        self._by_index: dict[int, KernelPeer] = {}
        self._allowed: AllowedIPs[KernelPeer] = AllowedIPs()
        self._free: list[int] = []
        self._next = 1

    def __iter__(self) -> Iterator[KernelPeer]:
        return iter(self._by_key.values())

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: NodePublicKey) -> KernelPeer | None:
        return self._by_key.get(key)

    def at(self, index: int) -> KernelPeer | None:
        return self._by_index.get(index)

    def owner(self, address: bytes) -> KernelPeer | None:
        """The peer that an inner source address (packed) belongs to."""
        return self._allowed.lookup(address)

    def add(self, key: NodePublicKey) -> KernelPeer:
        """The lowest free address. Raises `UnderlayError` when there is none left."""
        if not self._free and self._next >= ADDRESSES:
            raise UnderlayError("too many peers for the kernel engine", mend="use the userspace engine")
        index = heapq.heappop(self._free) if self._free else self._next
        self._next = max(self._next, index + 1)
        record = KernelPeer(key, index)
        self._by_key[key] = self._by_index[index] = record
        return record

    def assign(self, record: KernelPeer, setting: EnginePeer) -> None:
        """A peer's addresses are taken from whoever had them, as the device does."""
        record.setting = setting
        self._allowed.assign(record, setting.allowed_ips)

    def remove(self, key: NodePublicKey) -> KernelPeer | None:
        record = self._by_key.pop(key, None)
        if record is not None:
            del self._by_index[record.index]
            heapq.heappush(self._free, record.index)
            self._allowed.remove(record)
        return record
