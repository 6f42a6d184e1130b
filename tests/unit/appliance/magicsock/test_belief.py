from dataclasses import replace

import pytest

from appliance.magicsock.belief import Belief
from appliance.magicsock.scoring import ProvenPath
from appliance.magicsock.timing import MOVE_CALM, TRUST_DURATION
from appliance.types.addresses import AddrPort

A, B = ProvenPath(AddrPort("192.0.2.2", 41641), 0.02), ProvenPath(AddrPort("198.51.100.9", 5000), 0.021)


@pytest.fixture
def belief(rig):
    return Belief(rig.node().key, rig.context)


def test_ok__proof_is_believed_for_a_while(rig, belief):
    assert belief.prove(A, 10.0)
    assert belief.settled(10.0 + TRUST_DURATION)
    assert not belief.trusted(10.0 + TRUST_DURATION + 0.1)
    assert rig.context.proven == {A.addr_port: rig.node().key}


def test_ok__slower_path_is_taken_only_once_trust_is_gone(belief):
    belief.prove(A, 10.0)
    assert not belief.prove(B, 11.0)
    assert belief.best == A
    assert belief.prove(B, 11.0 + TRUST_DURATION)
    assert belief.best == B


def test_ok__two_jittery_ways_do_not_take_turns(belief):
    """The second one is a sixth faster, by chance: enough for the first move, not for the next ones."""
    belief.prove(A, 10.0)
    assert belief.prove(replace(B, latency_s=0.017), 11.0)
    assert not belief.prove(replace(A, latency_s=0.014), 12.0)
    assert belief.prove(replace(A, latency_s=0.012), 13.0), "a clear gain"
    assert not belief.prove(replace(B, latency_s=0.010), 13.0 + TRUST_DURATION)
    for second in range(14, 14 + int(MOVE_CALM)):
        belief.prove(replace(A, latency_s=0.012), second)
    assert belief.prove(replace(B, latency_s=0.010), 13.0 + MOVE_CALM)


def test_ok__path_by_a_relay_is_trusted_but_nothing_is_settled(belief):
    relayed = ProvenPath(A.addr_port, 0.02, vni=7)
    assert belief.prove(relayed, 10.0)
    assert belief.trusted(10.0)
    assert not belief.settled(10.0)
    assert not belief.is_direct(A.addr_port)


def test_ok__nothing_is_left_of_a_path_that_is_given_up(rig, belief):
    belief.prove(A, 10.0)
    belief.set(None)
    assert not belief.trusted(10.0)
    assert rig.context.proven == {}


def test_ok__path_carries_while_packets_came_along_it_a_moment_ago(belief):
    belief.prove(A, 10.0)
    assert not belief.carries(10.0)
    belief.carried(B.addr_port, 11.0)
    assert not belief.carries(11.0)
    for source in (A.addr_port, None):
        belief.carried(source, 12.0)
        assert belief.carries(12.0)
        assert not belief.carries(12.0 + TRUST_DURATION)
    belief.set(B)
    assert not belief.carries(12.0), "said of the one before"
    belief.set(None)
    belief.carried(None, 13.0)
    assert not belief.carries(13.0)


def test_ok__missing_answer_is_said_once(belief):
    belief.prove(A, 10.0)
    belief.expect_answer(10.0)
    assert not belief.answer_overdue(10.9)
    assert belief.answer_overdue(11.0)
    assert not belief.answer_overdue(12.0)


def test_ok__answer_is_not_missed_once_it_came(belief):
    belief.prove(A, 10.0)
    belief.expect_answer(10.0)
    belief.prove(A, 10.5)
    assert not belief.answer_overdue(20.0)
