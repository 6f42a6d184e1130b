from __future__ import annotations

from appliance.daemon.history import CAPACITY, KINDS, History, describe
from appliance.ports.clock import VirtualClock
from appliance.ports.events import EventBus
from appliance.types.addresses import AddrPort
from appliance.types.events import BackendState, BackendStateChanged, FlowRefused, LinkChanged, PathChanged, PathKind
from appliance.types.keys import NodePublicKey


def test_ok__ring_keeps_the_last_ones_and_subscribers_hear() -> None:
    bus = EventBus()
    history = History(bus, VirtualClock())
    heard = []
    end = history.subscribe(heard.append)
    for number in range(CAPACITY + 5):
        bus.publish(LinkChanged(major=False, reason=str(number)))
    end()
    bus.publish(LinkChanged(major=True))
    assert len(history.recent()) == CAPACITY
    assert history.recent()[-1].fields["major"] is True
    assert len(heard) == CAPACITY + 5


def test_ok__path_shows_peer_and_place() -> None:
    event = PathChanged(NodePublicKey(b"\x01" * 32), PathKind.DIRECT, AddrPort("203.0.113.5", 7), latency_s=0.01)
    assert describe(event) == (
        "path",
        {"peer": "01010101", "path": "direct", "where": "203.0.113.5:7", "latency_s": 0.01},
    )


def test_ok__every_kind_has_its_own_word() -> None:
    assert describe(BackendStateChanged(BackendState.RUNNING))[0] == "state"
    refused = FlowRefused(NodePublicKey(b"\x01" * 32), AddrPort("100.64.0.2", 80), "policy")
    assert describe(refused) == ("refused", {"peer": "01010101", "destination": "100.64.0.2:80", "reason": "policy"})
    assert len(KINDS) == 8
