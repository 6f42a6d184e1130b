import pytest

from appliance.proto.disco import HardNat, HardNatStep, NatClass, NatMapping, PortRule, encode_message, parse_message
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError

NAT = NatClass(NatMapping.ADDRESS_AND_PORT_DEPENDENT, PortRule.SEQUENTIAL, "198.51.100.7", -2, 1.5, 1024, 65535, 30000)
OFFER = HardNat(HardNatStep.OFFER, b"attempt!", NAT, AddrPort("198.51.100.7", 41641))
WIRE = bytes.fromhex(
    "e000 01 617474656d707421 03 02 fe 0018 0400 ffff 7530 00000000000000000000ffffc6336407a2a9".replace(" ", "")
)


def test_ok__form():
    assert encode_message(OFFER) == WIRE
    assert parse_message(WIRE) == OFFER
    assert parse_message(WIRE + b"more of a later version") == OFFER


@pytest.mark.parametrize("cut", range(2, len(WIRE)))
def test_fail__truncated(cut):
    with pytest.raises(DecodeError):
        parse_message(WIRE[:cut])


@pytest.mark.parametrize(
    ("at", "value"),
    [(1, 1), (2, 0), (2, 5), (11, 4), (12, 5), (13, 0), (16, 0xFF), (22, 0x20)],
    ids=["version", "step 0", "step 5", "mapping", "rule", "step of 0 ports", "low above high", "IPv6"],
)
def test_fail__values_that_mean_nothing(at, value):
    wire = bytearray(WIRE)
    wire[at] = value
    if at == 16:
        wire[18:20] = b"\x00\x01"
    with pytest.raises(DecodeError):
        parse_message(bytes(wire))


def test_ok__rate_is_cut_not_overflown():
    busy = HardNat(HardNatStep.OPENED, b"attempt!", NatClass(rate=1e9), AddrPort("198.51.100.7", 1))
    assert parse_message(encode_message(busy)).nat.rate == 0xFFFF / 16
