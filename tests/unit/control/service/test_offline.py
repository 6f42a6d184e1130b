"""A policy over a mesh file: elections and routes that `compile` shows."""

from __future__ import annotations

import json

from control.policy.document import parse_policy
from control.policy.meshfile import parse_mesh
from control.service.offline import compile_mesh, node_outputs

ROUTERS = [
    {"id": number, "name": f"r{number}", "tags": ["tag:r"],
     "addresses": [f"100.64.0.{number}", f"fd7a:115c:a1e0::{number}"],
     "advertised_routes": ["10.0.0.0/24"], "approved_routes": ["10.0.0.0/24"], "online": number != 2}
    for number in (4, 2, 3)
]  # fmt: skip
VIEWER = {"id": 1, "name": "v", "user": "ann", "addresses": ["100.64.0.1", "fd7a:115c:a1e0::1"]}
MESH = parse_mesh(json.dumps({"users": [{"name": "ann"}], "nodes": [VIEWER, *ROUTERS]}))


def routes(grant: str) -> dict[str, list[str]]:
    policy = parse_policy(f'{{"tagOwners": {{"tag:r": []}}, "grants": [{grant}]}}')
    [viewer] = [one for one in node_outputs(compile_mesh(policy, MESH), MESH) if one["Name"] == "v"]
    return {peer["Name"]: peer["AllowedIPs"][2:] for peer in viewer["Peers"]}


def test_ok__the_lowest_online_router_is_primary():
    found = routes('{"src": ["ann@"], "dst": ["10.0.0.0/8", "tag:r"], "ip": ["*"]}')
    assert found == {"r2": [], "r3": ["10.0.0.0/24"], "r4": []}


def test_ok__via_gives_the_route_to_its_router():
    found = routes('{"src": ["ann@"], "dst": ["10.0.0.0/8"], "ip": ["*"], "via": ["tag:r"]}')
    assert found == {"r2": [], "r3": ["10.0.0.0/24"], "r4": []}


def test_ok__a_suggested_exit_node_is_marked_for_its_peers():
    exit_node = {**VIEWER, "id": 9, "name": "x", "user": "ann", "addresses": ["100.64.0.9", "fd7a:115c:a1e0::9"]}
    exit_node |= {"advertised_routes": ["0.0.0.0/0"], "approved_routes": ["0.0.0.0/0"]}
    mesh = parse_mesh(json.dumps({"users": [{"name": "ann"}], "nodes": [VIEWER, exit_node]}))
    policy = parse_policy('{"nodeAttrs": [{"target": ["*"], "attr": ["suggest-exit-node"]}]}')
    viewer, router = node_outputs(compile_mesh(policy, mesh), mesh)
    assert viewer["Peers"][0]["CapMap"] == {"suggest-exit-node": None}
    assert "CapMap" not in router["Peers"][0]
    assert viewer["Peers"][0]["AllowedIPs"][2:] == ["0.0.0.0/0"]


def test_ok__services_that_auto_approvers_give():
    """Advertised and approved makes a host: it is told the addresses and gets the rules toward them."""
    hosts = [{**ROUTERS[1], "advertised_services": ["svc:web", "svc:db"]}, {**ROUTERS[2], "services": ["svc:db"]}]
    services = {"svc:web": ["100.99.0.1"], "svc:db": ["100.99.0.2"]}
    mesh = parse_mesh(json.dumps({"users": [{"name": "ann"}], "nodes": [VIEWER, *hosts], "services": services}))
    grant = '{"src": ["ann@"], "dst": ["svc:web"], "ip": ["443"]}'
    approvers = '{"services": {"svc:web": ["tag:r"], "svc:db": ["ann@"]}}'
    policy = parse_policy(f'{{"tagOwners": {{"tag:r": []}}, "grants": [{grant}], "autoApprovers": {approvers}}}')
    viewer, web, db = node_outputs(compile_mesh(policy, mesh), mesh)
    assert web["AutoApprovedServices"] == ["svc:web"]
    assert web["CapMap"]["service-host"] == [{"svc:web": ["100.99.0.1"]}]
    assert web["PacketFilter"][0]["DstPorts"] == [{"IP": "100.99.0.1", "Ports": {"First": 443, "Last": 443}}]
    assert (db["AutoApprovedServices"], db["PacketFilter"]) == ([], [])
    assert db["CapMap"]["service-host"] == [{"svc:db": ["100.99.0.2"]}]
    assert [peer["Name"] for peer in viewer["Peers"]] == ["r2"]


def test_ok__a_mesh_without_ipv4():
    viewer, *_ = node_outputs(compile_mesh(parse_policy('{"disableIPv4": true}'), MESH), MESH)
    assert viewer["Addresses"] == ["fd7a:115c:a1e0::1/128"]
    assert all("100.64" not in one for peer in viewer["Peers"] for one in peer["AllowedIPs"])
