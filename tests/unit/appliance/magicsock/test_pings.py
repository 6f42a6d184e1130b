from appliance.magicsock.pings import Pings, SentPing
from appliance.magicsock.timing import MAX_SENT_PINGS
from appliance.types.addresses import AddrPort

A = AddrPort("192.0.2.1", 1)


def test_ok__taken_once_and_only_the_way_it_went(rig):
    pings = Pings(rig.context)
    pings.send(rig.node(), SentPing(b"", A, 1.0, token=3))
    tx_id = rig.take()[0].message.tx_id
    assert pings.take(tx_id, by_derp=True) is None
    assert pings.take(tx_id, by_derp=False).token == 3
    assert pings.take(tx_id, by_derp=False) is None


def test_ok__expire_in_order(rig):
    pings = Pings(rig.context)
    pings.send(rig.node(), SentPing(b"", A, 1.0))
    pings.send_by_derp(rig.node(), 2.0)
    assert pings.next_timeout() == 6.0
    assert [ping.to for ping in pings.expire(6.5)] == [A]
    assert pings.next_timeout() == 7.0
    pings.clear()
    assert pings.next_timeout() is None


def test_fail__never_more_than_the_bound(rig):
    pings = Pings(rig.context)
    for n in range(MAX_SENT_PINGS + 10):
        pings.send(rig.node(), SentPing(b"", A, float(n)))
    assert len(pings) == MAX_SENT_PINGS


def test_fail__silent_while_logged_out(rig):
    rig.context.node_key = None
    pings = Pings(rig.context)
    pings.send(rig.node(), SentPing(b"", A, 1.0))
    pings.send_by_derp(rig.node(), 1.0)
    assert rig.take() == []
    assert len(pings) == 0
