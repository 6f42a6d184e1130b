"""The packet step of the userspace engine: cutting and sealing on the way out, joining on the way in.

Two forms with the same results: `PureStep` in Python, which always works, and `NativeStep` (native_step), one native
call per super-packet. Sockets, devices, policy and timers know nothing of the form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from appliance.engine.userspace.coalescing import coalesce
from appliance.engine.userspace.segmentation import slots_of_run, slots_of_super, with_checksum
from appliance.ports.packets import Segments
from appliance.proto.wireguard.cipher import PythonCipher, TransportCipher
from appliance.proto.wireguard.handshake import TransportKeys
from appliance.proto.wireguard.keypair import Keypair
from appliance.proto.wireguard.settings import Settings
from appliance.types.packets import TunPacket


class Sealed(NamedTuple):
    """Messages ready to be sent, and how many bytes of inner packets they hold."""

    slots: Segments
    payload_bytes: int


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

    def seal_super(self, keypair: Keypair, packet: TunPacket, mtu: int) -> Sealed | None:
        """Cut and seal a super-packet; None when the message limit forbids it. Raises `BadPacket`."""
        ...

    def seal_run(self, keypair: Keypair, packets: Sequence[TunPacket], mtu: int) -> Sealed | None:
        """Seal plain packets of one padded size (the last may be smaller); None when the message limit forbids it."""
        ...


class PureStep:
    form = "pure"

    def make_cipher(self, keys: TransportKeys, remote_index: int, settings: Settings, /) -> TransportCipher:
        return PythonCipher(keys, remote_index, settings)

    def cut(self, packet: TunPacket, mtu: int) -> tuple[Segments, list[int]]:
        return slots_of_super(packet, mtu)

    def join(self, packets: Sequence[memoryview]) -> list[TunPacket]:
        return coalesce(packets)

    def seal_super(self, keypair: Keypair, packet: TunPacket, mtu: int) -> Sealed | None:
        slots, sizes = slots_of_super(packet, mtu)
        return self._seal(keypair, slots, sum(sizes))

    def seal_run(self, keypair: Keypair, packets: Sequence[TunPacket], mtu: int) -> Sealed | None:
        whole = [with_checksum(packet) if packet.needs_checksum else packet.data for packet in packets]
        return self._seal(keypair, slots_of_run(whole, mtu), sum(map(len, whole)))

    def _seal(self, keypair: Keypair, slots: Segments, payload_bytes: int) -> Sealed | None:
        if not keypair.room(len(slots)):
            return None
        keypair.seal_slots(memoryview(slots.buffer), slots.size)
        return Sealed(slots, payload_bytes)
