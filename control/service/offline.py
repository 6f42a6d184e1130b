"""A policy over a mesh from a file: what each node would be sent, without a server and its database."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from appliance.proto.control import messages as wire
from control.mapper import wire_values
from control.policy.checks import run_tests
from control.policy.compiled import CompiledPolicy
from control.policy.difference import compare
from control.policy.explain import QuestionError, explain, find_end
from control.policy.facts import auto_approved, auto_approves_service
from control.policy.traffic import parse_protocol
from control.state.mesh import usable_routes

if TYPE_CHECKING:
    from appliance.types.addresses import Prefix
    from appliance.types.ids import NodeId
    from control.policy.meshfile import Mesh, MeshNode, MeshUser
    from control.policy.model import Policy
    from control.policy.problems import Place, Problem

SERVICE_HOST = "service-host"


def compile_mesh(policy: Policy, mesh: Mesh) -> CompiledPolicy:
    """The policy over the nodes of the file, services that autoApprovers give them included."""
    nodes = tuple(replace(node, services=hosted_services(policy, mesh, node)) for node in mesh.nodes)
    online = {node.id for node in nodes if node.online}
    return CompiledPolicy(policy, mesh.users, nodes, mesh.services, rank=online.__contains__)


def hosted_services(policy: Policy, mesh: Mesh, node: MeshNode) -> tuple[str, ...]:
    """Services that the node hosts: approved by a person, or advertised and approved by autoApprovers."""
    approved = auto_approved_services(policy, mesh, node)
    return (*node.services, *(name for name in approved if name not in node.services))


def auto_approved_services(policy: Policy, mesh: Mesh, node: MeshNode) -> tuple[str, ...]:
    """Of the services that the node advertises."""
    owner = _owner(mesh, node)
    return tuple(name for name in node.advertised_services if auto_approves_service(policy, node, owner, name))


def _owner(mesh: Mesh, node: MeshNode) -> MeshUser | None:
    return next((user for user in mesh.users if user.id == node.user_id), None)


def node_outputs(compiled: CompiledPolicy, mesh: Mesh) -> list[dict[str, Any]]:
    """Per node, by id, what goes on the wire; field names inside are those of the wire."""
    primaries = _primaries(mesh)
    nodes = {node.id: node for node in sorted(mesh.nodes, key=lambda node: node.id)}
    return [_output(compiled, mesh, node, nodes, primaries) for node in nodes.values()]


def _primaries(mesh: Mesh) -> dict[Prefix, NodeId]:
    """The lowest id among the online nodes that serve a subnet, as a server elects without a history."""
    found: dict[Prefix, NodeId] = {}
    for node in sorted(mesh.nodes, key=lambda node: node.id):
        for route in node.subnet_routes if node.online else ():
            found.setdefault(route, node.id)
    return found


def _output(
    compiled: CompiledPolicy,
    mesh: Mesh,
    node: MeshNode,
    nodes: dict[NodeId, MeshNode],
    primaries: dict[Prefix, NodeId],
) -> dict[str, Any]:
    rules = [_plain(rule) for rule in wire_values.filter_rules(compiled.filter_rules(node.id))]
    approved = auto_approved(compiled.policy, node, _owner(mesh, node), node.advertised_routes)
    return {
        "ID": node.id,
        "Name": node.name,
        "Addresses": _addresses(compiled, node),
        "PacketFilter": rules,
        "CapGrants": [rule for rule in rules if "CapGrant" in rule],
        "Peers": [_peer(compiled, node, nodes[peer], primaries) for peer in sorted(compiled.visible_peers(node.id))],
        "SSHPolicy": _plain(compiled.ssh_policy(node.id)),
        "CapMap": {**compiled.node_attributes(node.id), **_service_host(compiled.policy, mesh, node)},
        "AutoApprovedRoutes": [str(route) for route in node.advertised_routes if route in approved],
        "AutoApprovedServices": [*auto_approved_services(compiled.policy, mesh, node)],
    }


def _peer(
    compiled: CompiledPolicy, viewer: MeshNode, peer: MeshNode, primaries: dict[Prefix, NodeId]
) -> dict[str, Any]:
    held = (route for route in peer.subnet_routes if primaries.get(route) == peer.id)
    routes = usable_routes(compiled, viewer.id, peer.id, (*held, *peer.exit_routes), set(viewer.subnet_routes))
    found = {
        "ID": peer.id,
        "Name": peer.name,
        "AllowedIPs": [*_addresses(compiled, peer), *(str(route) for route in routes)],
    }
    attributes = {**compiled.peer_attributes(peer.id), **compiled.shown_attributes(viewer.id, peer.id)}
    return {**found, "CapMap": attributes} if attributes else found


def _service_host(policy: Policy, mesh: Mesh, node: MeshNode) -> dict[str, Any]:
    """The key that tells a host its services' addresses: one object for all (apps spec 5.1)."""
    hosted = {
        name: [str(address) for address in mesh.services[name]]
        for name in hosted_services(policy, mesh, node)
        if name in mesh.services
    }
    return {SERVICE_HOST: [hosted]} if hosted else {}


def _addresses(compiled: CompiledPolicy, node: MeshNode) -> list[str]:
    """Own addresses as maps show them."""
    v4, v6 = f"{node.ipv4}/32", f"{node.ipv6}/128"
    return [v6] if compiled.disables_ipv4(node.id) else [v4, v6]


def _plain(value: Any) -> Any:
    """A wire value as the JSON that is sent."""
    return json.loads(wire.encode(value))


def failed_tests(policy: Policy, mesh: Mesh) -> tuple[Problem, ...]:
    """What of the policy's own tests fails on the mesh."""
    return run_tests(compile_mesh(policy, mesh))


def differences(old: Policy, new: Policy, mesh: Mesh) -> list[dict[str, Any]]:
    """Who gains and who loses what between two policies."""
    found = compare(compile_mesh(old, mesh), compile_mesh(new, mesh), mesh.nodes)
    return [
        {
            "change": "gains" if one.gains else "loses",
            "sources": [*one.sources],
            "targets": [*one.targets],
            "what": one.what,
        }
        for one in found
    ]


def explanation(
    policy: Policy, mesh: Mesh, *, source: str, target: str, port: int, protocol: str = ""
) -> dict[str, Any]:
    """Which rules let the source reach the port, or what is missing. Raises `QuestionError`."""
    compiled = compile_mesh(policy, mesh)
    nodes = {node.name: node for node in mesh.nodes}
    ends = find_end(compiled, nodes, source), find_end(compiled, nodes, target)
    try:
        numbers = parse_protocol(protocol)
    except ValueError as error:
        raise QuestionError(str(error), mend="tcp, udp, sctp or a number") from None
    found = explain(compiled, *ends, port, numbers[0] if numbers else None)
    return {
        "allowed": found.allowed,
        "everybody": compiled.policy.allows_all,
        "rules": [_place(place) for place in found.rules],
        "via": [node.name for node in mesh.nodes if node.id in found.via],
        "missing": [{**_place(miss.place), "lacks": miss.lacks} for miss in found.missing],
        "section": found.section,
        "line": found.line,
    }


def _place(place: Place) -> dict[str, Any]:
    return {"line": place.line, "column": place.column}
