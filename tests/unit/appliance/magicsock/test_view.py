from appliance.magicsock.view import engine_path, path_kind, path_shown, path_status, same_path
from appliance.ports.underlay import PARKED
from appliance.proto.disco import Pong
from appliance.types.addresses import AddrPort
from appliance.types.events import PathKind

THEIRS = AddrPort("192.0.2.2", 41641)


def test_ok__idle_peer_shows_none_and_its_candidates(rig):
    peer = rig.peer()
    status = path_status(peer, rig.now)
    assert (status.kind, status.active, engine_path(peer, rig.now)) == (PathKind.NONE, False, PARKED)
    assert [(c.endpoint, c.state, c.sources) for c in status.candidates] == [(THEIRS, "not tried", ("netmap",))]


def test_ok__status_explains_the_choice(rig):
    silent = AddrPort("198.51.100.1", 1)
    peer = rig.peer(endpoints=(THEIRS, silent))
    peer.wanted(rig.now)
    tx_id = next(s.message.tx_id for s in rig.take() if s.to == THEIRS)
    peer.receive_pong(Pong(tx_id, silent), rig.now + 0.03)
    status = path_status(peer, rig.now + 1)
    assert (status.kind, status.endpoint, round(status.latency_s, 3)) == (PathKind.DIRECT, THEIRS, 0.03)
    assert {c.endpoint: c.state for c in status.candidates} == {THEIRS: "in use", silent: "no answer"}
    assert 5 < status.trusted_for_s < 6.5


def test_ok__latency_alone_is_no_other_path(rig):
    peer = rig.peer()
    peer.wanted(rig.now)
    before = path_shown(peer, rig.now)
    peer.derp_latency_s = 0.5
    after = path_shown(peer, rig.now)
    assert path_kind(peer, rig.now) == PathKind.DERP
    assert before != after
    assert same_path(before, after)
