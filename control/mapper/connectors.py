"""DNS routes to app connectors: which names a node has looked up by which connector (apps spec 7.2).

A connector answers DNS over HTTP on its peer API and learns from its own answers what to carry. Each app goes to one
connector per viewer: the lowest id among those that are online and that the policy lets the viewer use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from appliance.proto.control import messages as wire
from appliance.proto.peerapi import NAMES_PATH, PROTO
from appliance.types.addresses import AddrPort
from control.policy.read_attrs import APP_CONNECTORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from appliance.types.ids import NodeId
    from control.state.mesh import MeshView
    from control.state.records import NodeRecord

MAX_DOMAINS = 512
"""Per viewer; what is beyond is answered by the usual resolvers."""


def offers_apps(node: NodeRecord | None) -> bool:
    """Whether the node says that it is an app connector."""
    return node is not None and node.offers_apps


def connector_routes(view: MeshView, viewer: NodeId) -> dict[str, list[wire.Resolver]]:
    """Suffix → resolver for the apps that the viewer may use and does not connect itself."""
    own = view.nodes.get(viewer)
    if own is None or not view.connectors:
        return {}
    mine = set(_domains(_apps(view, viewer))) if viewer in view.connectors else set()
    found: dict[str, list[wire.Resolver]] = {}
    for node_id in sorted(view.connectors):
        url = _url(view, own, view.nodes[node_id]) if _usable(view, viewer, node_id) else ""
        if not url:
            continue
        for domain in _domains(_apps(view, node_id)):
            if len(found) < MAX_DOMAINS and domain not in mine:
                found.setdefault(domain, [wire.Resolver(addr=url, use_with_exit_node=True)])
    return found


def _usable(view: MeshView, viewer: NodeId, node_id: NodeId) -> bool:
    return (
        view.is_online(node_id)
        and view.are_peers(viewer, node_id)
        and view.policy.may_look_up(viewer, node_id)
        and bool(_apps(view, node_id))
    )


def _apps(view: MeshView, node_id: NodeId) -> list[Any]:
    return view.node_attributes(node_id).get(APP_CONNECTORS) or []


def _domains(apps: Iterable[Any]) -> Iterable[str]:
    """Names of the apps as suffixes: a wildcard means everything below."""
    for app in apps:
        for text in app.get("domains", ()):
            domain = str(text).lower().removeprefix("*.").strip(".")
            if domain:
                yield domain


def _url(view: MeshView, own: NodeRecord, node: NodeRecord) -> str:
    """The connector's peer API over an IP version that both have, IPv4 first; "" = it has told none."""
    services = node.hostinfo.services if node.hostinfo is not None else []
    shared = {prefix.version for prefix in view.addresses(own)}
    for prefix in view.addresses(node):
        port = next((each.port for each in services or () if each.proto == PROTO[prefix.version]), 0)
        if prefix.version in shared and 0 < port < 65536:
            return f"http://{AddrPort(str(prefix.network_address), port)}{NAMES_PATH}"
    return ""
