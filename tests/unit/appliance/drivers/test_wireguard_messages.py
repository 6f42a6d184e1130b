"""The kernel itself reads and writes these in tests/qemu; here what can be seen without it."""

import struct
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.drivers.netlink_messages import attribute, attributes, nested
from appliance.drivers.wireguard_messages import (
    MAX_PEERS_BYTES,
    device_name,
    device_settings,
    encode_endpoint,
    parse_endpoint,
    parse_peers,
    parse_port,
    peers_attributes,
)
from appliance.ports.wireguard_device import DevicePeer, PeerSetting
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError
from appliance.types.keys import NodePrivateKey, NodePublicKey

KEY = NodePublicKey(bytes(range(32)))
_V6 = AddrPort("2001:db8::1", 41641)


def peers_of(message: bytes) -> list[dict[int, bytes]]:
    ((kind, peers),) = attributes(message)
    assert kind == 8
    return [{kind: bytes(value) for kind, value in attributes(raw)} for _, raw in attributes(peers)]


def dumped(peer: DevicePeer) -> bytes:
    """As the kernel writes a peer."""
    seconds = int(peer.last_handshake)
    body = attribute(1, peer.key.raw) + attribute(6, struct.pack("=qq", seconds, 0))
    body += attribute(7, struct.pack("=Q", peer.rx_bytes)) + attribute(8, struct.pack("=Q", peer.tx_bytes))
    return nested(0, body + (attribute(4, encode_endpoint(peer.endpoint)) if peer.endpoint else b""))


def test_ok__settings_of_the_device() -> None:
    assert device_name("wg") == attribute(2, b"wg\0")
    settings = device_settings(key=NodePrivateKey(bytes(32)), port=41641, mark=0x80000)
    assert [kind for kind, _ in attributes(settings)] == [3, 6, 7]
    assert device_settings() == b""
    assert parse_port(settings) == 41641
    assert parse_port(b"") == 0


def test_ok__change_of_an_endpoint_alone() -> None:
    (message,) = peers_attributes([PeerSetting(KEY, AddrPort("192.0.2.1", 258), update_only=True)])
    assert peers_of(message) == [{1: KEY.raw, 3: b"\4\0\0\0", 4: b"\2\0\1\2\xc0\0\2\1" + bytes(8)}]


def test_ok__flags_and_prefixes() -> None:
    prefixes = (ip_network("10.0.0.0/8"), ip_network("fd00::/64"))
    (message,) = peers_attributes(
        [PeerSetting(KEY, allowed_ips=prefixes, keepalive_s=25), PeerSetting(KEY, remove=True)]
    )
    first, second = peers_of(message)
    assert first[3] == b"\2\0\0\0"
    assert first[5] == b"\x19\0"
    found = [{kind: bytes(value) for kind, value in attributes(raw)} for _, raw in attributes(first[9])]
    assert [entry[2] for entry in found] == [prefix.network_address.packed for prefix in prefixes]
    assert [entry[3] for entry in found] == [b"\x08", b"\x40"]
    assert second == {1: KEY.raw, 3: b"\1\0\0\0"}
    assert b"\0\0\0\0" not in [second[3]]


def test_ok__many_peers_are_split_and_none_is_lost() -> None:
    settings = [PeerSetting(NodePublicKey(n.to_bytes(32, "big")), _V6) for n in range(2000)]
    parts = list(peers_attributes(settings))
    assert len(parts) > 1
    assert all(len(part) <= MAX_PEERS_BYTES + 4 for part in parts)
    assert [peer[1] for part in parts for peer in peers_of(part)] == [setting.key.raw for setting in settings]


def test_ok__peer_of_many_prefixes_goes_on_without_the_flag_that_replaces() -> None:
    prefixes = tuple(ip_network(f"10.{n >> 8}.{n & 255}.0/24") for n in range(2500))
    entries = [peer for part in peers_attributes([PeerSetting(KEY, allowed_ips=prefixes)]) for peer in peers_of(part)]
    assert [3 in entry for entry in entries] == [True, False, False]
    assert sum(len(list(attributes(entry[9]))) for entry in entries) == 2500


@pytest.mark.parametrize("endpoint", [AddrPort("192.0.2.1", 1), _V6])
def test_ok__endpoint_round_trip(endpoint: AddrPort) -> None:
    assert parse_endpoint(memoryview(encode_endpoint(endpoint))) == endpoint


def test_ok__dump() -> None:
    peers = [DevicePeer(KEY, _V6, 100.0, 5, 6), DevicePeer(NodePublicKey(bytes(32)))]
    more_prefixes = nested(0, attribute(1, KEY.raw) + nested(9, b""))
    part = device_name("wg") + nested(8, b"".join(map(dumped, peers)) + more_prefixes)
    assert list(parse_peers(part)) == peers


@pytest.mark.parametrize(
    "data",
    [
        b"\x03\0\x08\0",
        b"\xff\0\x08\0",
        nested(8, nested(0, attribute(1, b"short") + attribute(7, bytes(8)) + attribute(8, bytes(8)))),
        nested(8, nested(0, attribute(7, bytes(8)) + attribute(8, bytes(8)))),
        nested(8, nested(0, attribute(4, bytes(16)) + attribute(7, bytes(8)) + attribute(8, bytes(8)))),
    ],
)
def test_fail__broken_dump(data: bytes) -> None:
    with pytest.raises(DecodeError):
        list(parse_peers(data))


@given(st.binary(max_size=300))
def test_fail__any_bytes_raise_nothing_else(data: bytes) -> None:
    for work in (
        lambda: list(parse_peers(data)),
        lambda: list(parse_peers(nested(8, nested(0, data)))),
        lambda: parse_port(data),
    ):
        try:
            work()
        except DecodeError:
            continue
