from appliance.magicsock.outbox import SendDatagram, SendDerp
from appliance.proto.disco import Ping
from appliance.types.addresses import AddrPort
from appliance.types.ids import RegionId
from appliance.types.keys import DiscoPublicKey

TO = AddrPort("192.0.2.1", 1)


def test_ok__sealed_for_the_peer_with_fresh_nonces(rig):
    for _ in range(2):
        rig.outbox.disco(TO, rig.theirs.public, Ping(b"x" * 12))
    first, second = rig.outbox.next_action(), rig.outbox.next_action()
    assert isinstance(first, SendDatagram)
    assert first.data != second.data
    assert rig.theirs.open(first.data) == (rig.ours.public, Ping(b"x" * 12))


def test_ok__by_derp_names_node_and_home(rig):
    node = rig.node()
    rig.outbox.disco_by_derp(node.key, RegionId(4), node.disco_key, Ping(b"x" * 12))
    action = rig.outbox.next_action()
    assert isinstance(action, SendDerp)
    assert (action.peer, action.home) == (node.key, 4)


def test_fail__low_order_key_gets_nothing(rig):
    rig.outbox.disco(TO, DiscoPublicKey(bytes(32)), Ping(b"x" * 12))
    assert rig.outbox.next_action() is None
    assert dict(rig.outbox.counters) == {"disco_seal_bad_key": 1}
