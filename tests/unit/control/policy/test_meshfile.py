"""Mesh files: the documented example, and mistakes at their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from control.policy.meshfile import parse_mesh
from control.policy.problems import PolicyError

EXAMPLE = Path("docs/examples/mesh.json")
BOX = '"addresses": ["100.64.0.1", "fd7a:115c:a1e0::1"]'


def test_ok__the_documented_example():
    mesh = parse_mesh(EXAMPLE.read_bytes())
    assert [node.name for node in mesh.nodes] == ["laptop", "phone", "gateway", "web"]
    gateway = mesh.nodes[2]
    assert gateway.user_id is None
    assert [str(route) for route in gateway.subnet_routes] == ["192.168.1.0/24"]
    assert gateway.exit_routes == ()
    assert [str(one) for one in mesh.services["svc:shop"]] == ["100.99.0.1"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the mesh is empty"),
        ('{"nodes": [{"user": "x"}]}', "a node needs one IPv4 and one IPv6 address"),
        (f'{{"nodes": [{{"user": "x", {BOX}}}]}}', 'no such user: "x"'),
        (f'{{"nodes": [{{"tags": ["site"], {BOX}}}]}}', 'not a tag: "site"'),
        (f'{{"nodes": [{{"tags": ["tag:a"], {BOX}}}, {{"tags": ["tag:a"], {BOX}}}]}}', "node-2 and node-1 share"),
        (f'{{"nodes": [{{"tags": ["tag:a"], {BOX}, "approved_routes": ["10.0.0.1/8"]}}]}}', "not a network"),
        (f'{{"nodes": [{{"tags": ["tag:a"], {BOX}, "attributes": {{"x": []}}}}]}}', "x is a list"),
        ('{"users": [{"name": "a", "role": "king"}]}', 'unknown role: "king"'),
        ('{"users": [{}]}', "a user without a name"),
        ('{"users": [{"name": "a", "id": 0}]}', "id must be a positive integer"),
        ('{"services": {"web": []}}', 'not a service name: "web"'),
        ('{"boxes": []}', 'unknown field: "boxes"'),
    ],
)
def test_fail__mistakes(text, says):
    with pytest.raises(PolicyError) as caught:
        parse_mesh(text)
    assert any(says in problem.text for problem in caught.value.problems)
