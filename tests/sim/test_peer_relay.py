"""Two nodes that reach each other in no direct way, and a third one that relays: DERP, then the relay, then better."""

from __future__ import annotations

import pytest

from appliance.types.events import PathKind
from tests.sim.nat import Filtering, Mapping
from tests.sim.network import Host
from tests.sim.relay import SimRelay

SYMMETRIC = {"mapping": Mapping.ADDRESS_AND_PORT_DEPENDENT, "filtering": Filtering.ADDRESS_AND_PORT_DEPENDENT}


class Relayed:
    """Nodes a and b behind symmetric NATs, node r in public with a relay that both may use unless said otherwise."""

    def __init__(self, story, *, granted="both"):
        self.story, self.world = story, story.world
        self.a, self.b = story.site(**SYMMETRIC), story.site(**SYMMETRIC)
        self.r = story.public()
        grants = {"both": {self.a, self.b}, "a": {self.a}, "none": set()}[granted]
        host = Host(self.world, story.internet, "192.0.2.200", 41642)
        self.relay = SimRelay(self.world, self.r, host, grants)
        for node in grants:
            node.use_relays(frozenset({self.r.key}))
        self.world.run(1)

    def talk(self):
        self.story.talk(self.a, self.b)

    def kinds(self):
        return self.a.status(self.b).kind, self.b.status(self.a).kind

    def settle(self, kind, within=5.0):
        return self.world.run_until(lambda: self.kinds() == (kind, kind), within)


@pytest.mark.parametrize("granted", ["both", "a"])
def test_ok__the_relay_is_taken_and_kept(story, granted):
    """Only the node that asks needs the right."""
    relayed = Relayed(story, granted=granted)
    relayed.talk()
    assert relayed.settle(PathKind.PEER_RELAY)
    assert [kind for _, kind, _ in relayed.a.paths[relayed.b.key]] == [PathKind.DERP, PathKind.PEER_RELAY]
    since, bytes_by_derp = relayed.world.now + 1, relayed.a.pool.relayed_bytes
    relayed.world.run(120)
    assert relayed.kinds() == (PathKind.PEER_RELAY, PathKind.PEER_RELAY)
    assert len(relayed.a.paths[relayed.b.key]) == 2, "the path does not flap"
    assert relayed.a.longest_silence(relayed.b, since, relayed.world.now) < 0.5
    assert relayed.a.pool.relayed_bytes - bytes_by_derp < 5000, "DERP carries signalling only"
    assert relayed.relay.forwarded > 2000
    assert len(relayed.relay.server) == 1


def test_fail__without_a_grant_the_relay_is_not_used(story):
    relayed = Relayed(story, granted="none")
    for node in (relayed.a, relayed.b):  # they ask all the same
        node.use_relays(frozenset({relayed.r.key}))
    relayed.talk()
    relayed.world.run(40)
    assert relayed.kinds() == (PathKind.DERP, PathKind.DERP)
    assert len(relayed.relay.server) == 0
    assert relayed.relay.forwarded == 0


def test_ok__a_direct_path_is_preferred_and_the_relay_left(story):
    relayed = Relayed(story)
    relayed.talk()
    assert relayed.settle(PathKind.PEER_RELAY)
    relayed.a.host.move(story.internet, "192.0.2.77")
    relayed.a.link_changed()
    assert relayed.settle(PathKind.DIRECT, within=15)
    forwarded = relayed.relay.forwarded
    relayed.world.run(20)
    assert relayed.relay.forwarded - forwarded < 5


def test_ok__a_relay_that_dies_is_left_for_derp_at_once_and_found_again(story):
    relayed = Relayed(story)
    relayed.talk()
    assert relayed.settle(PathKind.PEER_RELAY)
    relayed.world.run(10)
    died = relayed.world.now
    relayed.relay.stop()
    relayed.world.run(15)
    assert relayed.kinds() == (PathKind.DERP, PathKind.DERP)
    assert relayed.a.longest_silence(relayed.b, died, relayed.world.now) < 3
    relayed.relay.start()
    assert relayed.settle(PathKind.PEER_RELAY, within=40)


def test_ok__a_ping_says_that_a_relay_answered(story):
    relayed = Relayed(story)
    relayed.talk()
    assert relayed.settle(PathKind.PEER_RELAY)
    relayed.a.ping(relayed.b)
    relayed.world.run(1)
    (answer,) = relayed.a.pings[:1]
    assert (answer.endpoint, answer.vni) == (relayed.relay.host.local, 1)
