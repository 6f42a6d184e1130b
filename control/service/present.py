"""Records as plain JSON values for the admin socket, and later the REST API; field names are stable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from control.service.actor import permissions_of

if TYPE_CHECKING:
    from datetime import datetime

    from control.policy.problems import Problem
    from control.service.exits import ExitState
    from control.service.pending import PendingLogin
    from control.service.routes import RouteState
    from control.service.ssh_checks import SshCheck
    from control.state.mesh import MeshView
    from control.state.records import ApiKeyRecord, AuditRecord, NodeRecord, PolicyRecord, PreAuthKeyRecord, UserRecord


def _time(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, whole seconds."""
    return None if moment is None else moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def user_json(user: UserRecord) -> dict[str, Any]:
    return {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "display_name": user.display_name,
        "role": user.role.value,
        "permissions": [permission.name.lower() for permission in permissions_of(user.role)],
        "created": _time(user.created),
    }


def node_json(node: NodeRecord, view: MeshView, wall_now: datetime) -> dict[str, Any]:
    user = None if node.user_id is None else view.users.get(node.user_id)
    return {
        "id": node.id,
        "stable_id": node.stable_id,
        "name": node.given_name,
        "fqdn": view.fqdn(node),
        "hostname": node.hostname,
        "user": None if user is None else user.name,
        "tags": [*node.tags],
        "addresses": [str(node.ipv4), str(node.ipv6)],
        "online": view.is_online(node.id),
        "last_seen": _time(node.last_seen),
        "created": _time(node.created),
        "key_expiry": _time(node.key_expiry),
        "expired": node.is_expired(wall_now),
        "ephemeral": node.ephemeral,
        "node_key": str(node.node_key),
        "machine_key": str(node.machine_key),
        "home_derp": node.home_derp,
        "endpoints": [str(endpoint) for endpoint in node.endpoints],
        "capability_version": node.capability_version,
        "advertised_routes": [str(route) for route in node.advertised_routes],
        "approved_routes": [str(route) for route in node.approved_routes],
        "primary_routes": [str(route) for route in view.primary_routes(node.id)],
        "attributes": node.attributes,
        "attribute_expiries": {one.name: _time(one.expiry) for one in node.custom_attributes if one.expiry},
        "os": node.hostinfo.os if node.hostinfo is not None else "",
        "version": node.hostinfo.ipn_version if node.hostinfo is not None else "",
    }


def exit_json(state: ExitState) -> dict[str, Any]:
    used = state.exit
    return {
        "node": state.node.given_name,
        "exit": "" if used is None else used.given_name,
        "exit_stable_id": "" if used is None else used.stable_id,
        "offered": state.offered,
    }


def _shown(text: str, limit: int) -> str:
    """What a stranger said, for a terminal: bounded, without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:limit])


def pending_json(login: PendingLogin) -> dict[str, Any]:
    """A device that waits for a decision."""
    return {
        "id": login.id,
        "hostname": _shown(login.hostinfo.hostname, 255),
        "os": _shown(login.hostinfo.os, 64),
        "tags": [_shown(tag, 64) for tag in login.hostinfo.request_tags[:16]],
        "machine_key": str(login.machine_key),
        "node_key": str(login.node_key),
        "remote_ip": login.remote_ip,
        "created": _time(login.created),
    }


def check_json(check: SshCheck, view: MeshView) -> dict[str, Any]:
    """An SSH login that waits."""
    source, target = view.nodes.get(check.source), view.nodes.get(check.target)
    user = None if source is None or source.user_id is None else view.users.get(source.user_id)
    return {
        "id": check.id,
        "user": None if user is None else user.name,
        "source": None if source is None else source.given_name,
        "target": None if target is None else target.given_name,
        "login": _shown(check.login, 64),
        "created": _time(check.created),
    }


def key_json(key: PreAuthKeyRecord, view: MeshView, wall_now: datetime) -> dict[str, Any]:
    """Without the secret."""
    user = None if key.user_id is None else view.users.get(key.user_id)
    return {
        "id": key.id,
        "prefix": key.prefix,
        "user": None if user is None else user.name,
        "tags": [*key.tags],
        "reusable": key.reusable,
        "ephemeral": key.ephemeral,
        "description": key.description,
        "created": _time(key.created),
        "expiry": _time(key.expiry),
        "used": _time(key.used),
        "state": key.state(wall_now),
    }


def route_json(state: RouteState) -> dict[str, Any]:
    return {
        "node": state.node.given_name,
        "node_id": state.node.id,
        "route": str(state.route),
        "advertised": state.advertised,
        "approved": state.approved,
        "primary": state.primary,
        "well": state.well,
    }


def policy_json(policy: PolicyRecord) -> dict[str, Any]:
    return {
        "version": policy.version,
        "text": policy.text,
        "author": policy.author,
        "created": _time(policy.created),
    }


def problem_json(problem: Problem) -> dict[str, Any]:
    return {
        "line": problem.place.line,
        "column": problem.place.column,
        "text": problem.text,
        "mend": problem.mend,
        "warning": problem.warning,
    }


def audit_json(entry: AuditRecord) -> dict[str, Any]:
    return {
        "time": _time(entry.time),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "before": json.loads(entry.before) if entry.before else None,
        "after": json.loads(entry.after) if entry.after else None,
    }


def mesh_json(view: MeshView) -> dict[str, Any]:
    """The mesh as a file that `waypost-control policy compile --mesh` reads; without keys."""
    users = [
        {"id": user.id, "name": user.name, "email": user.email, "role": user.role.value} for user in view.users.values()
    ]
    return {"users": users, "nodes": [_mesh_node(node, view) for node in view.nodes.values()]}


def _mesh_node(node: NodeRecord, view: MeshView) -> dict[str, Any]:
    user = None if node.user_id is None else view.users.get(node.user_id)
    return {
        "id": node.id,
        "name": node.given_name,
        **({} if user is None else {"user": user.name}),
        "tags": [*node.tags],
        "addresses": [str(node.ipv4), str(node.ipv6)],
        "advertised_routes": [str(route) for route in node.advertised_routes],
        "approved_routes": [str(route) for route in node.approved_routes],
        "attributes": node.attributes,
        "online": view.is_online(node.id),
    }


def api_key_json(key: ApiKeyRecord, wall_now: datetime) -> dict[str, Any]:
    """Without the secret."""
    return {
        "id": key.id,
        "prefix": key.prefix,
        "scopes": [*key.scopes],
        "author": key.author,
        "user_id": key.user_id,
        "description": key.description,
        "created": _time(key.created),
        "expiry": _time(key.expiry),
        "state": key.state(wall_now),
    }
