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
    assert found == {"r2": ["10.0.0.0/24"], "r3": [], "r4": []}


def test_ok__a_suggested_exit_node_is_marked_for_its_peers():
    exit_node = {**VIEWER, "id": 9, "name": "x", "user": "ann", "addresses": ["100.64.0.9", "fd7a:115c:a1e0::9"]}
    exit_node |= {"advertised_routes": ["0.0.0.0/0"], "approved_routes": ["0.0.0.0/0"]}
    mesh = parse_mesh(json.dumps({"users": [{"name": "ann"}], "nodes": [VIEWER, exit_node]}))
    policy = parse_policy('{"nodeAttrs": [{"target": ["*"], "attr": ["suggest-exit-node"]}]}')
    viewer, router = node_outputs(compile_mesh(policy, mesh), mesh)
    assert viewer["Peers"][0]["CapMap"] == {"suggest-exit-node": None}
    assert "CapMap" not in router["Peers"][0]
    assert viewer["Peers"][0]["AllowedIPs"][2:] == ["0.0.0.0/0"]
