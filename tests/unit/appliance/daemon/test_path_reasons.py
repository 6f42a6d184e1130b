from appliance.daemon.path_reasons import MAX_SHOWN, reasons_of
from appliance.magicsock.status import CandidateStatus, PathStatus
from appliance.types.addresses import AddrPort
from appliance.types.events import PathKind
from appliance.types.keys import NodePublicKey


def candidate(port, **more):
    return CandidateStatus(AddrPort("192.0.2.1", port), ("netmap",), 0, more.pop("best", False), **more)


def test_ok__the_one_in_use_first_then_the_fastest():
    candidates = (
        candidate(1, why="no answer"),
        candidate(2, latency_s=0.02),
        candidate(3, latency_s=0.01),
        candidate(4, best=True, latency_s=0.03, loss=0.1),
    )
    status = PathStatus(NodePublicKey.zero(), PathKind.DIRECT, True, candidates=candidates, why="because")
    shown = reasons_of(status)
    assert [each.endpoint.rpartition(":")[2] for each in shown.candidates] == ["4", "3", "2", "1"]
    assert (shown.why, shown.candidates[0].loss, shown.candidates[3].why) == ("because", 0.1, "no answer")


def test_ok__hundreds_of_addresses_are_cut():
    status = PathStatus(NodePublicKey.zero(), PathKind.DERP, True, candidates=tuple(map(candidate, range(1, 300))))
    assert len(reasons_of(status).candidates) == MAX_SHOWN
