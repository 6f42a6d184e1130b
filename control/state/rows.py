"""Rows to records and back. Unreadable rows raise `StateError`, naming the row."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING, Any

from appliance.proto.control.messages import Hostinfo, decode, encode
from appliance.types.addresses import AddrPort, Prefix, parse_addr_port
from appliance.types.errors import DecodeError, StateError
from appliance.types.keys import DiscoPublicKey, MachinePublicKey, NodePublicKey
from control.state.records import ApiKeyRecord, CustomAttribute, NodeRecord, PreAuthKeyRecord, Role, UserRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_STORED = frozenset(field.name for field in fields(NodeRecord)) - {"advertised_routes"}
MAX_ADVERTISED = 1024
"""Advertised routes beyond this many are ignored: a node cannot make others carry an endless list."""


def advertised_routes(hostinfo: Hostinfo | None) -> tuple[Prefix, ...]:
    """Hostinfo.RoutableIPs as sorted networks, without duplicates and without what is not a network."""
    found: set[Prefix] = set()
    for text in (hostinfo.routable_ips if hostinfo is not None else [])[:MAX_ADVERTISED]:
        try:
            found.add(ip_network(text))
        except ValueError:
            continue
    return tuple(sorted(found, key=_prefix_order))


def _prefix_order(prefix: Prefix) -> tuple[int, int, int]:
    return prefix.version, int(prefix.network_address), prefix.prefixlen


def node_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Column values of the given `NodeRecord` attributes; derived attributes have no column."""
    return {name: _column(name, value) for name, value in values.items() if name in _STORED}


def _column(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "hostinfo":
        return encode(value).decode()
    if name in ("endpoints", "approved_routes"):
        return json.dumps([str(item) for item in value])
    if name == "custom_attributes":
        return json.dumps([[one.name, one.value, one.expiry.isoformat() if one.expiry else None] for one in value])
    if name in ("tags", "endpoint_types"):
        return json.dumps([*value])
    if name in ("machine_key", "node_key", "disco_key", "ipv4", "ipv6", "stable_id"):
        return str(value)
    return value


def all_node_columns(node: NodeRecord) -> dict[str, Any]:
    """Column values of a whole record, without its id."""
    return node_columns({field.name: getattr(node, field.name) for field in fields(node) if field.name != "id"})


def node_record(row: Mapping[str, Any]) -> NodeRecord:
    try:
        return _node_record(row)
    except (DecodeError, ValueError, TypeError) as error:
        mend = "restore the database from a backup"
        raise StateError(f"the stored node {row['id']} cannot be read: {error}", mend=mend) from error


def _node_record(row: Mapping[str, Any]) -> NodeRecord:
    hostinfo = None if row["hostinfo"] is None else decode(Hostinfo, row["hostinfo"].encode())
    plain = {name: row[name] for name in _STORED}
    return NodeRecord(
        **{
            **plain,
            "machine_key": MachinePublicKey.parse(row["machine_key"]),
            "node_key": NodePublicKey.parse(row["node_key"]),
            "disco_key": None if row["disco_key"] is None else DiscoPublicKey.parse(row["disco_key"]),
            "hostinfo": hostinfo,
            "ipv4": IPv4Address(row["ipv4"]),
            "ipv6": IPv6Address(row["ipv6"]),
            "endpoints": _endpoints(json.loads(row["endpoints"])),
            "endpoint_types": tuple(json.loads(row["endpoint_types"])),
            "tags": tuple(json.loads(row["tags"])),
            "approved_routes": tuple(ip_network(text) for text in json.loads(row["approved_routes"])),
            "advertised_routes": advertised_routes(hostinfo),
            "custom_attributes": tuple(
                CustomAttribute(name, value, datetime.fromisoformat(expiry) if expiry else None)
                for name, value, expiry in json.loads(row["custom_attributes"])
            ),
        }
    )


def _endpoints(texts: Iterable[str]) -> tuple[AddrPort, ...]:
    return tuple(parse_addr_port(text) for text in texts)


def user_record(row: Mapping[str, Any]) -> UserRecord:
    return UserRecord(
        id=row["id"],
        name=row["name"],
        created=row["created"],
        email=row["email"],
        display_name=row["display_name"],
        role=Role(row["role"]),
    )


def key_record(row: Mapping[str, Any]) -> PreAuthKeyRecord:
    names = (field.name for field in fields(PreAuthKeyRecord) if field.name != "tags")
    return PreAuthKeyRecord(tags=tuple(json.loads(row["tags"])), **{name: row[name] for name in names})


def api_key_record(row: Mapping[str, Any]) -> ApiKeyRecord:
    names = (field.name for field in fields(ApiKeyRecord) if field.name != "scopes")
    return ApiKeyRecord(scopes=tuple(json.loads(row["scopes"])), **{name: row[name] for name in names})
