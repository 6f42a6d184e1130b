"""Which flows must end with a change of the model."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from appliance.ports.conntrack import Flow
from appliance.router.flows import Openings, Withdrawals
from appliance.router.model import RouterModel
from appliance.router.ruleset import compile_filter, render_ended
from appliance.types.addresses import AddrPort
from appliance.types.netmap import FilterRule, PortRange

PEER, OTHER, HOST = "100.64.0.2", "100.64.0.3", "10.0.0.5"
MODEL = RouterModel(
    addresses=(ip_network("100.64.0.1/32"), ip_network("fd7a:115c:a1e0::1/128")),
    advertised=(ip_network("10.0.0.0/24"),),
    sources=(ip_network(PEER), ip_network(OTHER), ip_network("fd7a:115c:a1e0::2")),
    rules=(
        FilterRule((PEER,), (PortRange(HOST, 80, 90), PortRange(HOST, 443, 443), PortRange("10.0.0.0/24", 22, 22))),
        FilterRule((OTHER, "fd7a:115c:a1e0::2"), (PortRange("*"),), (6, 17, 47, 50)),
    ),
    peerapi=(AddrPort("100.64.0.1", 5555),),
)


def openings(model: RouterModel) -> Openings:
    return Openings(model, compile_filter(model))


def flow(source: str = PEER, destination: str = HOST, port: int = 80, protocol: int = 6, icmp_type: int = -1) -> Flow:
    first, second = ip_address(source), ip_address(destination)
    return Flow(first.version, protocol, int(first), int(second), 1000, port, icmp_type)


def ended(change: dict[str, object], *flows: Flow) -> list[Flow]:
    judge = withdrawn(MODEL, replace(MODEL, **change)).take()
    return [item for item in flows if judge(item)]


def withdrawn(*models: RouterModel) -> Withdrawals:
    """After the flows of the first one were looked at."""
    made = Withdrawals()
    made.follow(openings(models[0]))
    made.take()
    for model in models[1:]:
        made.follow(openings(model))
    return made


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        (flow(), True),
        (flow(port=90), True),
        (flow(port=91), False),
        (flow(port=443), True),
        (flow(port=22), True),
        (flow(destination="10.0.0.6", port=22), True),
        (flow(destination="10.0.0.6", port=80), False),
        (flow(protocol=47, port=0), False),
        (flow(protocol=1, icmp_type=8, port=0), True),
        (flow(protocol=1, icmp_type=8, destination="10.0.1.5", port=0), False),
        (flow(protocol=1, icmp_type=3, source=OTHER, port=0), True),
        (flow(source=OTHER, protocol=50, port=0), True),
        (flow(source=OTHER, protocol=51, port=0), False),
        (flow(source=OTHER, destination="10.0.1.1"), False),
        (flow(source="100.64.0.9"), False),
        (flow(source="100.64.0.9", protocol=99, port=0), False),
        (flow(protocol=99, port=0), True),
        (flow(destination="100.64.0.1", port=5555), True),
        (flow(destination="100.64.0.1", port=5556), False),
        (flow("fd7a:115c:a1e0::2", "fd7a:115c:a1e0::1"), True),
        (flow("fd7a:115c:a1e0::3", "fd7a:115c:a1e0::1"), False),
    ],
)
def test_ok__verdicts(asked, allowed):
    assert openings(MODEL).allow(asked) == allowed


def test_ok__nothing_to_look_for_when_nobody_loses():
    more = (*MODEL.rules, FilterRule(("100.64.0.9",), (PortRange("*"),)))
    for change in (
        {},
        {"routes": (ip_network("10.9.0.0/16"),)},
        {"rules": more},
        {"advertised": (ip_network("10.0.0.0/8"),)},
    ):
        assert not withdrawn(MODEL).follow(openings(replace(MODEL, **change)))


def test_ok__only_flows_that_lost_their_right():
    held = [flow(), flow(port=22), flow(source=OTHER)]
    assert ended({"rules": MODEL.rules[1:]}, *held) == held[:2]
    assert ended({"rules": MODEL.rules[:1]}, *held) == held[2:]
    assert ended({"sources": (ip_network(OTHER),)}, *held) == held[:2]
    assert ended({"jailed": (ip_network(OTHER),)}, *held) == held[2:]
    assert ended({"shields_up": True}, *held) == held
    assert ended({"advertised": (ip_network("10.0.0.0/30"),)}, *held) == held
    narrower = (FilterRule((PEER,), (PortRange(HOST, 80, 80),)), MODEL.rules[1])
    assert ended({"rules": narrower}, *held) == [held[1]]


def test_ok__the_peer_api_outlives_shields_but_not_its_port():
    held = flow(destination="100.64.0.1", port=5555)
    assert ended({"shields_up": True}, held) == []
    assert ended({"peerapi": ()}, held) == [held]


def test_ok__all_flows_are_looked_at_when_the_former_model_is_not_known():
    withdrawals = Withdrawals()
    assert withdrawals.follow(openings(MODEL))
    judge = withdrawals.take()
    assert judge(flow(port=91))
    assert not judge(flow())
    withdrawals.look_at_all()
    assert withdrawals.take()(flow(port=91))


def test_ok__what_was_open_between_two_looks_ends_too():
    more = (*MODEL.rules, FilterRule((PEER,), (PortRange("*", 5000, 5000),)))
    judge = withdrawn(MODEL, replace(MODEL, rules=more), MODEL, replace(MODEL, rules=MODEL.rules[:1])).take()
    assert judge(flow(port=5000)), "opened and withdrawn since the last look"
    assert judge(flow(source=OTHER)), "withdrawn last"
    assert not judge(flow())


def test_ok__what_is_given_back_before_the_end_goes_on():
    withdrawals = withdrawn(MODEL, replace(MODEL, rules=()))
    judge, held = withdrawals.take(), [flow(), flow(source=OTHER)]
    assert all(map(judge, held))
    withdrawals.follow(openings(replace(MODEL, rules=MODEL.rules[:1])))
    assert withdrawals.still_to_end(held) == held[1:]


def test_ok__the_hosts_side_of_tcp_is_shut():
    assert render_ended([flow(protocol=17)]) == ""
    assert render_ended([flow(), flow("fd7a:115c:a1e0::2", "fd7a:115c:a1e0::1")]) == (
        "add element inet waypost ended4 { 10.0.0.5 . 80 . 100.64.0.2 . 1000 }\n"
        "add element inet waypost ended6 { fd7a:115c:a1e0::1 . 80 . fd7a:115c:a1e0::2 . 1000 }\n"
    )
