"""What holds for every packet of an interface, through the chains of other firewalls."""

import pytest

from appliance.router.foreign_walk import Outcome, Walk

ACCEPT, DROP = {"accept": None}, {"drop": None}


def on(key, right, op="=="):
    return {"match": {"op": op, "left": {"meta": {"key": key}}, "right": right}}


CAME = on("iifname", "waypost0")
STATE = {"match": {"op": "==", "left": {"ct": {"key": "state"}}, "right": {"set": ["established"]}}}
COUNTER = {"counter": {"packets": 0, "bytes": 0}}
# Zones as firewalld makes them: the interface is in one that trusts, everything else is refused at the end.
ZONES = {
    "base": [
        [STATE, ACCEPT],
        [on("iifname", "lo"), ACCEPT],
        [{"jump": {"target": "zones"}}],
        [{"reject": {"type": "icmpx", "expr": "admin-prohibited"}}],
    ],
    "zones": [[on("iifname", "lan0"), {"goto": {"target": "public"}}], [CAME, {"goto": {"target": "trusted"}}]],
    "public": [[{"match": {"op": "==", "left": {"payload": {"field": "dport"}}, "right": 22}}, ACCEPT]],
    "trusted": [[{"jump": {"target": "empty"}}], [COUNTER, ACCEPT]],
}


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ([CAME, ACCEPT], Outcome.ACCEPTED),
        ([COUNTER, {"log": {"prefix": "x"}}, DROP], Outcome.DROPPED),
        ([{"limit": {"rate": 3}}, DROP], Outcome.OPEN),
        ([STATE, ACCEPT], Outcome.OPEN),
        ([CAME, STATE, DROP], Outcome.OPEN),
        ([on("oifname", "waypost0"), ACCEPT], Outcome.OPEN),
        ([on("iifname", "eth0", "!="), DROP], Outcome.DROPPED),
        ([on("iifname", "waypost0", "!="), DROP], Outcome.OPEN),
        ([on("iifname", "way*"), ACCEPT], Outcome.ACCEPTED),
        ([on("iif", {"set": ["eth0", "waypost0"]}), ACCEPT], Outcome.ACCEPTED),
        ([on("iifname", "@trusted"), ACCEPT], Outcome.OPEN),
        ([on("iifname", "@blocked", "!="), ACCEPT], Outcome.OPEN),
        ([{"return": None}], Outcome.OPEN),
        ([CAME], Outcome.OPEN),
    ],
)
def test_ok__one_rule(rule, outcome):
    assert Walk({"base": [rule]}, "iifname", "waypost0").outcome("base") is outcome


def test_ok__zones():
    assert Walk(ZONES, "iifname", "waypost0").outcome("base") is Outcome.ACCEPTED
    assert Walk(ZONES, "iifname", "lan0").outcome("base") is Outcome.DROPPED
    assert Walk(ZONES, "oifname", "waypost0").outcome("base") is Outcome.DROPPED


def test_ok__verdict_maps():
    jump = {"jump": {"target": "trusted"}}
    vmap = {"vmap": {"key": {"meta": {"key": "iifname"}}, "data": {"set": [["eth0", DROP], ["waypost0", jump]]}}}
    chains = {**ZONES, "base": [[vmap], [DROP]]}
    assert Walk(chains, "iifname", "waypost0").outcome("base") is Outcome.ACCEPTED
    assert Walk(chains, "iifname", "eth0").outcome("base") is Outcome.DROPPED
    named = {"vmap": {"key": {"meta": {"key": "iifname"}}, "data": "@zones"}}
    assert Walk({"base": [[named]]}, "iifname", "waypost0").outcome("base") is Outcome.OPEN


def test_ok__goto_does_not_come_back():
    chains = {"base": [[{"goto": {"target": "none"}}], [DROP]], "none": []}
    assert Walk(chains, "iifname", "waypost0").outcome("base") is Outcome.OPEN


def test_fail__chains_that_call_each_other_end():
    chains = {"base": [[{"jump": {"target": "base"}}], [DROP]]}
    assert Walk(chains, "iifname", "waypost0").outcome("base") is Outcome.DROPPED
