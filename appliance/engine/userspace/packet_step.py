"""The packet step of the userspace engine: cutting and sealing on the way out, joining on the way in.

Two forms with the same results: `PureStep` in Python, which always works, and `NativeStep` (native_step), one native
call per super-packet. Sockets, devices, policy and timers know nothing of the form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from appliance.engine.userspace.coalescing import coalesce
from appliance.engine.userspace.segmentation import slots_of_group, slots_of_super
from appliance.ports.packets import Segments
from appliance.proto.wireguard.cipher import PythonCipher, TransportCipher
from appliance.proto.wireguard.handshake import TransportKeys
from appliance.proto.wireguard.keypair import Keypair
from appliance.proto.wireguard.settings import Settings
from appliance.types.packets import TunPacket


class Sealed(NamedTuple):
    """Messages ready to be sent, how many bytes of inner packets they hold, and how many packets cannot be cut."""

    batches: Sequence[Segments]
    payload_bytes: int
    bad: int


class PacketStep(Protocol):
    """What differs between the forms."""

    @property
    def form(self) -> str:
        """`pure` or `native`, as `waypost status` shows it."""
        ...

    def make_cipher(self, keys: TransportKeys, remote_index: int, settings: Settings, /) -> TransportCipher:
        """The cipher of a key pair that is used with this step."""
        ...

    def cut(self, packet: TunPacket, mtu: int) -> tuple[Segments, list[int]]:
        """A super-packet as unsealed slots, with the size of each segment. Raises `BadPacket`."""
        ...

    def join(self, packets: Sequence[memoryview]) -> list[TunPacket]:
        """The packets in order, with joinable TCP neighbours joined. Each is a whole IP packet without padding."""
        ...

    def seal(self, keypair: Keypair, packets: Sequence[TunPacket], mtu: int) -> Sealed | None:
        """Cut and seal packets in order, of any kind; None, and nothing sealed, when the message limit forbids it."""
        ...


class PureStep:
    form = "pure"

    def make_cipher(self, keys: TransportKeys, remote_index: int, settings: Settings, /) -> TransportCipher:
        return PythonCipher(keys, remote_index, settings)

    def cut(self, packet: TunPacket, mtu: int) -> tuple[Segments, list[int]]:
        return slots_of_super(packet, mtu)

    def join(self, packets: Sequence[memoryview]) -> list[TunPacket]:
        return coalesce(packets)

    def seal(self, keypair: Keypair, packets: Sequence[TunPacket], mtu: int) -> Sealed | None:
        batches, payload_bytes, bad = slots_of_group(packets, mtu)
        if not keypair.room(sum(map(len, batches))):
            return None
        for slots in batches:
            keypair.seal_slots(memoryview(slots.buffer), slots.size)
        return Sealed(batches, payload_bytes, bad)
