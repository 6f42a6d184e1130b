"""The native form of the packet step: one call per super-packet, during which other threads may run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from appliance.engine.userspace.packet_step import PacketStep, PureStep, Sealed
from appliance.engine.userspace.segmentation import BadPacket
from appliance.native import Native, NativeTransport, load, problem
from appliance.native.loader import Item, Received
from appliance.ports.packets import Segments
from appliance.proto.wireguard.cipher import TransportCipher
from appliance.proto.wireguard.handshake import TransportKeys
from appliance.proto.wireguard.keypair import Keypair
from appliance.proto.wireguard.settings import Settings
from appliance.types.errors import ConfigError
from appliance.types.packets import TunPacket

_TCP_CHECKSUM_AT = 16
_LEAST_WINDOW = 128


class NativeStep:
    """`native` is the extension module."""

    form = "native"

    def __init__(self, native: Native) -> None:
        self._native = native

    def make_cipher(self, keys: TransportKeys, remote_index: int, settings: Settings, /) -> TransportCipher:
        window = max(settings.replay_bits, _LEAST_WINDOW)
        return self._native.Transport(keys.send, keys.receive, remote_index, settings.reject_after_messages, window)

    def cut(self, packet: TunPacket, mtu: int) -> tuple[Segments, list[int]]:
        try:
            slots, stride, sizes = self._native.cut_super(packet.data, _offload(packet), mtu)
        except ValueError as error:
            raise BadPacket from error
        return Segments(slots, stride), sizes

    def join(self, packets: Sequence[memoryview]) -> list[TunPacket]:
        arena, items = self._native.join(packets)
        view = memoryview(arena)
        return [tun_packet(view, item) for item in items]

    def seal(self, keypair: Keypair, packets: Sequence[TunPacket], mtu: int) -> Sealed | None:
        sealed = _cipher(keypair).seal(packets, mtu)
        if sealed is None:
            return None
        arena, runs, payload_bytes, bad = sealed
        if len(runs) == 1:
            return Sealed((Segments(arena, runs[0][2]),), payload_bytes, bad)
        view = memoryview(arena)
        return Sealed([Segments(view[begin:end], stride) for begin, end, stride in runs], payload_bytes, bad)

    def open_run(
        self, keypair: Keypair, batches: Sequence[tuple[memoryview, int]], offset: int, skip: int, *, join: bool
    ) -> Received:
        """See `NativeTransport.open_run`; the messages are this key pair's."""
        return _cipher(keypair).open_run(batches, offset, skip, join)


def _cipher(keypair: Keypair) -> NativeTransport:
    """Every key pair of an engine with this step has such a cipher."""
    return cast(NativeTransport, keypair.cipher)


def _offload(packet: TunPacket) -> tuple[int, int, int]:
    return packet.gso_type, packet.gso_size, packet.csum_start


def tun_packet(arena: memoryview, item: Item) -> TunPacket:
    """One packet of an arena for the device."""
    begin, end, _, _, gso_type, gso_size, header, csum_start = item
    if not gso_size:
        return TunPacket(arena[begin:end])
    return TunPacket(arena[begin:end], gso_type, gso_size, header, csum_start, _TCP_CHECKSUM_AT, True)


def choose_step(wish: str = "auto") -> PacketStep:
    """The step by `tunnel.native`: `on`, `off`, or `auto`, native where it is built. Raises `ConfigError` for `on`."""
    native = None if wish == "off" else load()
    if native is not None:
        return NativeStep(native)
    if wish == "on":
        raise ConfigError(
            f"tunnel.native is on, but {problem()}",
            mend='build it with tools/build_native.sh, or set tunnel.native = "auto"',
        )
    return PureStep()
