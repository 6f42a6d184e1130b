from appliance.magicsock.hard_nat.sockets import HIT_KEEP_S, KEEP_S, SocketShelf
from appliance.magicsock.outbox import CloseSockets
from appliance.ports.side_ports import SideSocket
from appliance.types.keys import NodePublicKey

PEER = NodePublicKey(b"\x01" * 32)
SOCKETS = [SideSocket(number, 50000 + number) for number in range(1, 6)]


def closed(rig):
    numbers = set()
    while (action := rig.context.outbox.next_action()) is not None:
        assert isinstance(action, CloseSockets)
        numbers.update(action.numbers)
    return numbers


def test_ok__winner_and_hits_stay_the_rest_goes(rig):
    shelf = SocketShelf(rig.context.outbox)
    shelf.opened(PEER, SOCKETS)
    assert shelf.next_timer() is None
    assert shelf.hit(PEER, 2, 0.0)
    shelf.set_winner(PEER, 1, 0.0)
    shelf.finish(PEER, 0.0)
    shelf.handle_timer(KEEP_S - 0.1)
    assert closed(rig) == set()
    shelf.handle_timer(KEEP_S)
    assert closed(rig) == {3, 4, 5}
    assert shelf.owner(1) == shelf.owner(2) == PEER
    shelf.handle_timer(HIT_KEEP_S + 2 * KEEP_S)
    assert closed(rig) == {2}, "no ping came there any more"
    shelf.set_winner(PEER, 0, 100.0)
    shelf.handle_timer(200.0)
    assert closed(rig) == {1}
    assert len(shelf) == 0
    assert shelf.next_timer() is None


def test_fail__sockets_of_nobody_and_of_others(rig):
    shelf = SocketShelf(rig.context.outbox)
    shelf.opened(PEER, SOCKETS[:1])
    assert not shelf.hit(PEER, 9, 0.0)
    assert not shelf.hit(NodePublicKey(b"\x02" * 32), 1, 0.0)
    shelf.discard(SOCKETS[3:])
    assert closed(rig) == {4, 5}
    shelf.close_all()
    assert closed(rig) == {1}
    assert shelf.owner(1) is None
