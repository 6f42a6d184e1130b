from ipaddress import ip_address, ip_network

import pytest

from appliance.engine.kernel import peers
from appliance.engine.kernel.peers import PeerTable, proxied
from appliance.ports.engine import EnginePeer
from appliance.ports.underlay import PeerPath
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError
from appliance.types.keys import NodePublicKey

KEYS = [NodePublicKey(bytes((n,)) * 32) for n in range(1, 6)]
FAR = AddrPort("192.0.2.1", 41641)


def test_ok__each_peer_has_its_own_loopback_address_and_the_lowest_free_is_used_again() -> None:
    table = PeerTable()
    first, second, third = (table.add(key) for key in KEYS[:3])
    assert [str(record.proxy_address(7)) for record in (first, second, third)] == [
        "127.64.0.1:7",
        "127.64.0.2:7",
        "127.64.0.3:7",
    ]
    table.remove(KEYS[1])
    assert table.at(2) is None
    assert table.add(KEYS[3]).index == 2
    assert table.add(KEYS[4]).index == 4
    assert table.remove(KEYS[1]) is None
    assert len(table) == len(list(table)) == 4


def test_ok__addresses_beyond_one_octet() -> None:
    record = peers.KernelPeer(KEYS[0], 0x12345)
    assert str(record.proxy_address(7).ip) == "127.65.35.69"
    assert proxied(record.proxy_address(7))
    assert proxied(None)
    assert not proxied(FAR)


def test_fail__no_address_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "ADDRESSES", 3)
    table = PeerTable()
    table.add(KEYS[0])
    table.add(KEYS[1])
    with pytest.raises(UnderlayError):
        table.add(KEYS[2])


def test_ok__addresses_move_to_the_last_owner() -> None:
    table = PeerTable()
    first, second = table.add(KEYS[0]), table.add(KEYS[1])
    own, behind = ip_network("100.64.0.1/32"), ip_network("10.0.0.0/8")
    table.assign(first, EnginePeer(KEYS[0], (own, behind)))
    table.assign(second, EnginePeer(KEYS[1], (own,)))
    assert table.owner(ip_address("10.1.2.3").packed) is first
    table.remove(KEYS[0])
    assert table.owner(own.network_address.packed) is second
    assert table.owner(ip_address("10.1.2.3").packed) is None
    table.assign(second, EnginePeer(KEYS[1], ()))
    assert table.owner(own.network_address.packed) is None


@pytest.mark.parametrize(
    ("path", "wished"),
    [
        (PeerPath(), "127.64.0.1:7"),
        (PeerPath(relay=True), "127.64.0.1:7"),
        (PeerPath(FAR, relay=True), "127.64.0.1:7"),
        (PeerPath(FAR, vni=1), "127.64.0.1:7"),
        (PeerPath(FAR), str(FAR)),
    ],
)
def test_ok__device_does_itself_only_what_is_direct(path: PeerPath, wished: str) -> None:
    record = PeerTable().add(KEYS[0])
    record.path = path
    assert str(record.wished_endpoint(7)) == wished
