"""Both forms of the step against each other, and what the native one promises of threads."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest

from appliance.engine.userspace import native_step
from appliance.engine.userspace.native_step import NativeStep, choose_step
from appliance.engine.userspace.packet_step import PacketStep, PureStep, Sealed
from appliance.ports.packets import Segments
from appliance.proto.wireguard.handshake import TransportKeys
from appliance.proto.wireguard.keypair import Keypair
from appliance.proto.wireguard.settings import Settings
from appliance.types.errors import ConfigError
from appliance.types.packets import TunPacket
from tests.contract.packets import super_tcp, super_udp, tcp, udp

V4 = ("100.64.0.1", "100.64.0.2")
MTU = 1280


def keypair(step: PacketStep, *, other: bool = False, **settings: int) -> Keypair:
    send, receive = bytes(range(32)), bytes(range(32, 64))
    keys = TransportKeys(receive, send) if other else TransportKeys(send, receive)
    return Keypair(
        None,  # type: ignore[arg-type]  # no session is asked for
        keys,
        (2, 1) if other else (1, 2),
        initiator=True,
        created=0.0,
        settings=Settings(**settings),
        make_cipher=step.make_cipher,
    )


def messages(sealed: Sealed | None) -> list[bytes]:
    assert sealed is not None
    return [bytes(slot) for batch in sealed.batches for slot in batch]


@pytest.mark.parametrize("make", [super_tcp, super_udp])
def test_ok__both_forms_seal_the_same_bytes(bulk: NativeStep, make: Callable[..., TunPacket]) -> None:
    packet = make(*V4, bytes(range(256)) * 20, 1000)
    pure, native = (step.seal(keypair(step), (packet,), MTU) for step in (PureStep(), bulk))
    assert messages(pure) == messages(native)
    assert pure is not None
    assert native is not None
    assert pure[1:] == native[1:]


def test_ok__both_forms_seal_a_mixed_group_in_order(bulk: NativeStep) -> None:
    unfinished = bytearray(udp(*V4, b"b" * 99))
    struct.pack_into(">H", unfinished, 26, 0x1234)
    group = [
        TunPacket(udp(*V4, b"a" * 100)),
        TunPacket(unfinished, csum_start=20, csum_offset=6, needs_checksum=True),
        TunPacket(bytes(60), gso_type=1, gso_size=10, csum_start=20),
        super_tcp(*V4, bytes(range(250)) * 16, 1000),
        TunPacket(bytes(21), csum_start=20, csum_offset=6, needs_checksum=True),
        TunPacket(udp(*V4, b"c" * 200)),
    ]
    pure, native = (step.seal(keypair(step), group, MTU) for step in (PureStep(), bulk))
    assert messages(pure) == messages(native)
    assert pure is not None
    assert native is not None
    assert pure[1:] == native[1:] == (128 + 127 + 4 * 1040 + 228, 2)


def test_ok__neighbouring_super_packets_go_out_together(bulk: NativeStep) -> None:
    packets = [super_tcp(*V4, bytes(3000), 1000, sequence=1 + n * 3000) for n in range(3)]
    sealed = bulk.seal(keypair(bulk), packets, MTU)
    assert sealed is not None
    assert [(len(batch), batch.size) for batch in sealed.batches] == [(9, 32 + 1040)]


def test_fail__no_room_seals_nothing(step: PacketStep) -> None:
    pair = keypair(step, reject_after_messages=4)
    small = TunPacket(udp(*V4, b"x"))
    assert step.seal(pair, (super_tcp(*V4, bytes(5000), 1000),), MTU) is None
    assert step.seal(pair, (super_tcp(*V4, bytes(3000), 1000), small, small), MTU) is None
    assert pair.sent == 0
    assert step.seal(pair, [small] * 4, MTU) is not None


def test_fail__nonsense_from_the_device(step: PacketStep) -> None:
    pair = keypair(step)
    sealed = step.seal(pair, (TunPacket(bytes(60), gso_type=1, gso_size=10, csum_start=20),), MTU)
    assert (messages(sealed), pair.sent, sealed and sealed.bad) == ([], 0, 1)


def test_fail__a_buffer_twice_or_read_only(bulk: NativeStep) -> None:
    view = memoryview(bytearray(100))
    with pytest.raises(ValueError, match="overlap"):
        bulk.open_run(keypair(bulk), [(view, 50), (view[50:], 50), (view, 50)], 0, 0, join=True)
    with pytest.raises(TypeError):
        bulk.open_run(keypair(bulk), [(memoryview(bytes(100)), 50)], 0, 0, join=True)


def test_ok__a_run_over_several_buffers_with_a_prefix(bulk: NativeStep) -> None:
    sender, receiver = keypair(bulk), keypair(bulk, other=True)
    prefix = b"geneve78"
    messages = [sender.seal_one(tcp(*V4, b"x" * 100, sequence=1 + n * 100), MTU) for n in range(3)]
    buffers = [memoryview(bytearray(prefix + message)) for message in messages]
    arena, items, stopped, (size, data), dropped = bulk.open_run(
        receiver, [(buffer, 500) for buffer in buffers], 0, len(prefix), join=True
    )
    assert len(arena) == 340
    assert [(item[0], item[1], item[3]) for item in items] == [(0, 340, 3)]
    assert (stopped, size, data, dropped) == ((3, 0), 3 * len(messages[0]), True, (0, 0, 0))


def test_ok__no_nonce_twice_across_threads(bulk: NativeStep) -> None:
    pair = keypair(bulk)
    packet = super_tcp(*V4, bytes(20_000), 1000)

    def work(number: int) -> list[bytes]:
        taken: list[bytes] = []
        for _ in range(100):
            taken += messages(bulk.seal(pair, (packet, *[TunPacket(udp(*V4, bytes((number,))))] * 3), MTU))
        return [message[8:16] for message in taken]

    with ThreadPoolExecutor(4) as pool:
        counters = list(itertools.chain(*pool.map(work, range(4))))
    assert len(counters) == len(set(counters)) == pair.sent == 4 * 100 * 23


def test_ok__order_per_flow_with_two_threads_per_direction(bulk: NativeStep) -> None:
    """Each sealing thread feeds one opening thread, as one socket would; both directions run at once."""
    ends = keypair(bulk), keypair(bulk, other=True)
    step, count = 500, 300

    def seal(sender: Keypair, port: int, wire: SimpleQueue[Segments | None]) -> None:
        for number in range(count):
            packet = super_tcp(*V4, number.to_bytes(2, "big") * 1250, step, sequence=1 + number * 2500, port=port)
            sealed = bulk.seal(sender, (packet,), MTU)
            assert sealed is not None
            wire.put(sealed.batches[0])
        wire.put(None)

    def open_(receiver: Keypair, wire: SimpleQueue[Segments | None]) -> list[int]:
        numbers = []
        while (batch := wire.get(timeout=8)) is not None:
            view = memoryview(bytearray(batch.buffer))
            arena, items, _, _, dropped = bulk.open_run(receiver, [(view, batch.size)], 0, 0, join=True)
            assert dropped == (0, 0, 0)
            numbers += [struct.unpack_from(">I", arena, item[0] + 24)[0] for item in items]
        return numbers

    with ThreadPoolExecutor(8) as pool:
        results = []
        for sender, receiver in (ends, ends[::-1]):
            for port in (1000, 2000):
                wire: SimpleQueue[Segments | None] = SimpleQueue()
                pool.submit(seal, sender, port, wire)
                results.append(pool.submit(open_, receiver, wire))
        for result in results:
            assert result.result(9) == [1 + number * 2500 for number in range(count)]


def test_ok__choice(bulk: NativeStep) -> None:
    assert choose_step("off").form == "pure"
    assert choose_step().form == choose_step("on").form == "native"


def test_fail__on_without_a_module(monkeypatch) -> None:
    monkeypatch.setattr(native_step, "load", lambda: None)
    monkeypatch.setattr(native_step, "problem", lambda: "the native module is not built")
    assert choose_step("auto").form == "pure"
    with pytest.raises(ConfigError, match=r"tunnel\.native is on, but the native module is not built"):
        choose_step("on")
