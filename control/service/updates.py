"""Lite updates: what a node tells about itself (control-protocol spec sections 8 and 12).

Names and routes are written at once, since others decide on them, and the disco key, without which peers end their
sessions after a restart of this server; endpoints, NetInfo and the like are coalesced.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from appliance.proto.control.messages import encode
from appliance.types.ids import RegionId
from control.service.actor import node_actor
from control.service.names import label_from, unique_label
from control.service.nodes import approvals
from control.state.rows import advertised_routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.proto.control.messages import Hostinfo
    from appliance.types.addresses import AddrPort
    from appliance.types.ids import NodeId
    from appliance.types.keys import DiscoPublicKey
    from control.service.core import Core
    from control.state.records import NodeRecord

MAX_ENDPOINTS = 64
MAX_HOSTINFO_BYTES = 64 << 10


async def update_node(
    core: Core,
    node_id: NodeId,
    *,
    hostinfo: Hostinfo | None,
    endpoints: Sequence[AddrPort] | None,
    endpoint_types: Sequence[int] | None,
    disco_key: DiscoPublicKey | None,
    capability_version: int,
) -> None:
    """Take in what differs. A Hostinfo beyond `MAX_HOSTINFO_BYTES` is ignored, endpoints are cut."""
    node = core.model.nodes.get(node_id)
    if node is None:
        return
    quick = _quick_fields(node, endpoints, endpoint_types, disco_key, capability_version)
    if "disco_key" in quick:
        await _write(core, node_id, quick)
        quick = {}
    facts = hostinfo_fields(core, node, hostinfo)
    if facts and not _only_network(node.hostinfo, facts["hostinfo"]):
        await _write_facts(core, node_id, hostinfo)
    elif facts:
        quick |= {name: facts[name] for name in ("hostinfo", "home_derp")}
    current = core.model.nodes.get(node_id)
    if quick and current is not None:
        core.touch(node_id, publish=_is_news(current, quick), **quick)


def _quick_fields(
    node: NodeRecord,
    endpoints: Sequence[AddrPort] | None,
    endpoint_types: Sequence[int] | None,
    disco_key: DiscoPublicKey | None,
    capability_version: int,
) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    if endpoints is not None:
        wanted["endpoints"] = tuple(endpoints[:MAX_ENDPOINTS])
        kinds = [*(endpoint_types or ())][: len(wanted["endpoints"])]
        wanted["endpoint_types"] = (*kinds, *[0] * (len(wanted["endpoints"]) - len(kinds)))
    if disco_key is not None and not disco_key.is_zero:
        wanted["disco_key"] = disco_key
    if capability_version:
        wanted["capability_version"] = capability_version
    return {name: value for name, value in wanted.items() if getattr(node, name) != value}


def hostinfo_fields(core: Core, node: NodeRecord, hostinfo: Hostinfo | None) -> dict[str, Any]:
    """The node's attributes that follow from its Hostinfo; empty if nothing differs."""
    if hostinfo is None or len(encode(hostinfo)) > MAX_HOSTINFO_BYTES:
        return {}
    former = node.hostinfo
    if hostinfo.net_info is None and former is not None and former.net_info is not None:
        hostinfo = msgspec.structs.replace(hostinfo, net_info=former.net_info)
    if hostinfo == former:
        return {}
    hostname = hostinfo.hostname[:255]
    region = hostinfo.net_info.preferred_derp if hostinfo.net_info is not None else 0
    fields: dict[str, Any] = {
        "hostinfo": hostinfo,
        "hostname": hostname,
        "advertised_routes": advertised_routes(hostinfo),
        "home_derp": RegionId(region) if 0 < region < 2**31 else node.home_derp,
        "given_name": _name(core, node, hostname),
    }
    fields["approved_routes"] = approvals(core, replace(node, **fields))
    return fields


def _name(core: Core, node: NodeRecord, hostname: str) -> str:
    """Follows the hostname unless an administrator named the node."""
    if node.given_name and (node.renamed or hostname == node.hostname):
        return node.given_name

    def taken(label: str) -> bool:
        holder = core.model.node_by_name(label)
        return holder is not None and holder.id != node.id

    return unique_label(label_from(hostname), taken)


def _only_network(former: Hostinfo | None, latest: Hostinfo) -> bool:
    """Whether nothing but NetInfo differs."""
    return former is not None and msgspec.structs.replace(latest, net_info=former.net_info) == former


def _is_news(node: NodeRecord, fields: dict[str, Any]) -> bool:
    """Latency jitter alone is of no interest to peers."""
    if set(fields) - {"hostinfo", "home_derp"} or fields.get("home_derp") != node.home_derp:
        return True
    return _without_latency(fields["hostinfo"]) != _without_latency(node.hostinfo)


def _without_latency(hostinfo: Hostinfo | None) -> Hostinfo | None:
    if hostinfo is None or hostinfo.net_info is None:
        return hostinfo
    return msgspec.structs.replace(hostinfo, net_info=msgspec.structs.replace(hostinfo.net_info, derp_latency={}))


async def _write(core: Core, node_id: NodeId, fields: dict[str, Any]) -> None:
    async with core.change(node_actor(core.model.nodes[node_id])) as draft:
        if node_id in core.model.nodes:
            await draft.patch_node(node_id, **fields)


async def _write_facts(core: Core, node_id: NodeId, hostinfo: Hostinfo | None) -> None:
    node = core.model.nodes[node_id]
    async with core.change(node_actor(node)) as draft:
        current = core.model.nodes.get(node_id)
        fields = {} if current is None else hostinfo_fields(core, current, hostinfo)
        if not fields or current is None:
            return
        await draft.patch_node(node_id, **fields)
        before = {name: getattr(current, name) for name in ("given_name", "advertised_routes", "approved_routes")}
        after = {name: fields[name] for name in before}
        if before != after:
            await draft.audit("node.update", f"node:{node_id}", before, after)
