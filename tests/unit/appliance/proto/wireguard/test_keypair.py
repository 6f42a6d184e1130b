import pytest

from appliance.engine.userspace.packet_step import PacketStep
from appliance.proto.wireguard.handshake import TransportKeys
from appliance.proto.wireguard.keypair import Keypair
from appliance.proto.wireguard.settings import Settings


def keypairs(step: PacketStep, **settings: int) -> tuple[Keypair, Keypair]:
    k1, k2 = bytes(range(32)), bytes(range(32, 64))
    made = [
        Keypair(
            None,  # type: ignore[arg-type]  # no session is asked for
            keys,
            indices,
            initiator=True,
            created=0.0,
            settings=Settings(**settings),
            make_cipher=step.make_cipher,
        )
        for keys, indices in ((TransportKeys(k1, k2), (1, 2)), (TransportKeys(k2, k1), (2, 1)))
    ]
    return made[0], made[1]


def test_ok__many_slots_in_one_call(step: PacketStep) -> None:
    sender, receiver = keypairs(step)
    stride, last = 32 + 48, 32 + 16
    buffer = bytearray(stride * 3 + last)
    plain = [bytes((n,)) * (48 if n < 3 else 16) for n in range(4)]
    for n, text in enumerate(plain):
        buffer[n * stride + 16 : n * stride + 16 + len(text)] = text
    sender.seal_slots(memoryview(buffer), stride)
    assert sender.sent == 4
    view = memoryview(buffer)
    for n, text in enumerate(plain):
        packet = view[n * stride : min((n + 1) * stride, len(buffer))]
        assert packet[8:16] == n.to_bytes(8, "little")
        opened = receiver.open(packet, n)
        assert opened is not None
        assert bytes(opened) == text


def test_fail__repetition_and_forgery(step: PacketStep) -> None:
    sender, receiver = keypairs(step)
    sealed = sender.seal_one(b"x" * 20, 0)
    assert len(sealed) == 64
    assert receiver.open(memoryview(bytearray(sealed)), 0) is not None
    assert not receiver.may_open(0)
    assert receiver.open(memoryview(bytearray(sealed)), 0) is None
    forged = bytearray(sender.seal_one(b"x", 0))
    forged[-1] ^= 1
    assert receiver.open(memoryview(forged), 1) is None
    assert receiver.may_open(1)


def test_fail__the_counter_stops_at_the_limit(step: PacketStep) -> None:
    sender, receiver = keypairs(step, reject_after_messages=3)
    assert sender.room(3)
    assert not sender.room(4)
    for _ in range(3):
        sender.seal_one(b"", 0)
    with pytest.raises(ValueError):
        sender.seal_one(b"", 0)
    assert sender.sent == 3
    assert not receiver.may_open(3)


def test_ok__a_failed_call_burns_its_counters(step: PacketStep) -> None:
    sender, _ = keypairs(step)
    with pytest.raises(TypeError):
        sender.seal_slots(memoryview(bytes(48)), 48)
    assert sender.sent == 1
