"""DNS routes to app connectors, as streams get them: real policies, each change told."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from appliance.proto.control import messages as wire
from appliance.types.ids import NodeId
from appliance.types.netmap import DerpMap
from control.mapper.connectors import MAX_DOMAINS, connector_routes
from control.mapper.nodes import PeerNodes
from control.mapper.viewer import Viewer
from control.policy.compiled import CompiledPolicy
from control.policy.document import parse_policy
from control.state.changes import Change, NodeChange
from control.state.mesh import MeshModel
from control.state.records import NodeRecord, UserRecord
from tests.unit.control.mapper.test_viewer import NOW, make_record

APPS = '{"name": "shop", "connectors": ["tag:c"], "domains": ["shop.example", "*.cdn.example", "Shop.Example."]}'
EVERYBODY = '{"action": "accept", "src": ["*"], "dst": ["tag:c:53"]}'


def policy_of(rules: str = EVERYBODY, apps: str = APPS) -> str:
    entry = f'{{"target": ["*"], "app": {{"tailscale.com/app-connectors": [{apps}]}}}}'
    return f'{{"tagOwners": {{"tag:c": [], "tag:d": []}}, "acls": [{rules}], "nodeAttrs": [{entry}]}}'


def connector(number: int, port: int = 4000, **fields: Any) -> NodeRecord:
    services = [wire.Service(proto="peerapi4", port=port), wire.Service(proto="peerapi6", port=port + 1)]
    hostinfo = wire.Hostinfo(hostname=f"n{number}", app_connector=True, services=services)
    return make_record(number, **{"user_id": None, "tags": ("tag:c",), "hostinfo": hostinfo, **fields})


class World:
    """Node 1 looks, through a stream of its own."""

    def __init__(self, *records: NodeRecord, policy: str = "") -> None:
        self.users = [UserRecord(make_record(1).user_id, "alice", NOW)]
        self.text = policy or policy_of()
        self.model = MeshModel(domain="mesh.test", derp_map=DerpMap(), policy=self._compiled(()))
        self.model.put_user(self.users[0])
        for record in (make_record(1), *records):
            self.model.put_node(record)
            self.model.set_online(record.id, True)
        self.model.set_policy(self._compiled(self.model.nodes.values()))
        self.viewer = Viewer(self.model, PeerNodes(self.model), NodeId(1), 130)
        self.told: dict[str, list[str]] = {}
        self.messages = 0
        self._take(self.viewer.full_map(NOW))

    def _compiled(self, nodes: Any) -> CompiledPolicy:
        return CompiledPolicy(parse_policy(self.text), self.users, nodes)

    def _take(self, responses: list[wire.MapResponse]) -> None:
        for response in responses:
            if response.dns_config is not None:
                self.messages += 1
                routes = response.dns_config.routes or {}
                self.told = {suffix: [one.addr for one in found] for suffix, found in routes.items() if found}

    def publish(self, **fields: Any) -> None:
        self.viewer.note(Change(revision=1, **{"nodes": (), **fields}))
        self._take(self.viewer.take(NOW))
        assert self.told == {
            suffix: [one.addr for one in found] for suffix, found in connector_routes(self.model, NodeId(1)).items()
        }

    def put(self, record: NodeRecord) -> None:
        policy = self.model.policy
        assert isinstance(policy, CompiledPolicy)
        filters = {node_id: policy.filter_rules(node_id) for node_id in self.model.nodes}
        before = self.model.put_node(record)
        refiltered = policy.put_node(record).refiltered
        fresh = self._compiled(self.model.nodes.values())
        for node_id in self.model.nodes:
            assert policy.filter_rules(node_id) == fresh.filter_rules(node_id)
            assert node_id in refiltered or filters.get(node_id) == fresh.filter_rules(node_id)
        self.publish(nodes=(NodeChange(before, record),))

    def set_online(self, number: int, online: bool) -> None:
        self.model.set_online(NodeId(number), online)
        self.publish(online={NodeId(number): online})


URL = "http://100.64.0.2:4000/dns-query"


def test_ok__apps_are_looked_up_by_the_connector():
    world = World(connector(2))
    assert world.told == {"shop.example": [URL], "cdn.example": [URL]}
    resolver = connector_routes(world.model, NodeId(1))["shop.example"]
    assert resolver == [wire.Resolver(addr=URL, use_with_exit_node=True)]


def test_ok__what_the_connector_says_is_followed():
    world = World(connector(2), make_record(4))
    world.put(connector(2, port=5000))
    assert world.told["shop.example"] == ["http://100.64.0.2:5000/dns-query"]
    world.set_online(2, False)
    assert world.told == {}
    world.set_online(2, True)
    assert len(world.told) == 2
    before = world.messages
    world.set_online(4, False)
    assert world.messages == before, "another node's absence is no news"
    world.put(replace(connector(2), hostinfo=wire.Hostinfo(hostname="n2")))
    assert world.told == {}


def test_ok__one_connector_each_and_the_next_when_it_goes():
    world = World(connector(2), connector(3))
    assert world.told["shop.example"] == [URL]
    world.set_online(2, False)
    assert world.told["shop.example"] == ["http://100.64.0.3:4000/dns-query"]


@pytest.mark.parametrize(
    ("rules", "usable"),
    [
        (EVERYBODY, True),
        ('{"action": "accept", "src": ["alice@"], "dst": ["*:*"]}', True),
        ('{"action": "accept", "src": ["alice@"], "dst": ["tag:c:22"]}', False),
        ('{"action": "accept", "src": ["alice@"], "dst": ["tag:c:*"], "proto": "icmp"}', False),
        ('{"action": "accept", "src": ["tag:c"], "dst": ["alice@:*"]}', False),
        ('{"action": "accept", "src": ["alice@"], "dst": ["198.51.100.7:443"]}', True),
        ('{"action": "accept", "src": ["alice@"], "dst": ["100.64.0.2:53"]}', True),
        ("", False),
    ],
)
def test_ok__only_for_those_whom_the_policy_lets_in(rules, usable):
    learned = (ip_network("198.51.100.7/32"),)
    world = World(
        connector(2, advertised_routes=learned, approved_routes=learned),
        policy=policy_of(rules),
    )
    assert bool(world.told) is usable
    texts = {port.ip for rule in world.model.filter_rules(NodeId(2)) for port in rule.dst_ports}
    assert ("0.0.0.0" in texts or "*" in texts) is usable  # a filter rule


def test_ok__who_is_no_connector_by_policy_gets_no_names():
    world = World(connector(2, tags=("tag:d",)), policy=policy_of('{"action": "accept", "src": ["*"], "dst": ["*:*"]}'))
    assert world.told == {}
    world.put(connector(2))
    assert len(world.told) == 2
    texts = [port.ip for rule in world.model.filter_rules(NodeId(2)) for port in rule.dst_ports]
    assert texts == ["*"], "the rule says that already"


def test_ok__a_connector_does_not_ask_another_for_its_own_apps():
    world = World(connector(2))
    assert connector_routes(world.model, NodeId(2)) == {}
    world.put(connector(3))
    assert connector_routes(world.model, NodeId(3)) == {}


def test_ok__ipv6_alone_and_no_peer_api():
    six = wire.Hostinfo(hostname="n2", app_connector=True, services=[wire.Service(proto="peerapi6", port=9)])
    world = World(connector(2, hostinfo=six))
    assert world.told["cdn.example"] == ["http://[fd7a:115c:a1e0::2]:9/dns-query"]
    world.put(connector(2, hostinfo=wire.Hostinfo(hostname="n2", app_connector=True)))
    assert world.told == {}


def test_ok__names_are_bounded():
    domains = ", ".join(f'"d{number}.example"' for number in range(2 * MAX_DOMAINS))
    world = World(connector(2), policy=policy_of(apps=f'{{"connectors": ["*"], "domains": [{domains}]}}'))
    assert len(world.told) == MAX_DOMAINS
