"""Wire types: nodes, their changes, users (control-protocol spec sections 7.2, 10, 11).

Keys, addresses, prefixes and times are text here; `convert` checks them one by one, so that one bad entry drops only
itself.
"""

# ruff: noqa: RUF012  # msgspec copies the empty defaults of a Struct

from __future__ import annotations

from typing import Any

from msgspec import field

from appliance.proto.control.hostinfo import Hostinfo
from appliance.proto.control.wire import Wire

CapMap = dict[str, list[Any] | None]
"""Capability name to raw JSON values; null and `[]` mean the same."""


class Resolver(Wire):
    """`addr`: IP, `https://…` or `http://node:port/path`."""

    addr: str = ""
    bootstrap_resolution: list[str] = []
    use_with_exit_node: bool = False


class Node(Wire):
    """`allowed_ips` None = same as `addresses`; `[]` is not the same. Times RFC 3339; empty key = none."""

    id: int = field(default_factory=int)
    stable_id: str = field(default_factory=str)
    name: str = field(default_factory=str)
    user: int = field(default_factory=int)
    sharer: int = 0
    key: str = field(default_factory=str)
    key_expiry: str = ""
    key_signature: bytes = b""
    machine: str = ""
    disco_key: str = ""
    addresses: list[str] = field(default_factory=list)
    allowed_ips: list[str] | None = None
    endpoints: list[str] | None = None
    home_derp: int = 0
    legacy_derp: str = field(default="", name="DERP")
    hostinfo: Hostinfo | None = None
    created: str = ""
    cap: int = 0
    tags: list[str] = []
    primary_routes: list[str] = []
    last_seen: str = ""
    online: bool | None = None
    machine_authorized: bool = False
    capabilities: list[str] = []
    cap_map: CapMap = {}
    unsigned_peer_api_only: bool = False
    computed_name: str = ""
    computed_name_with_host: str = ""
    data_plane_audit_log_id: str = ""
    expired: bool = False
    self_node_v4_masq_addr_for_this_peer: str = ""
    self_node_v6_masq_addr_for_this_peer: str = ""
    is_wireguard_only: bool = False
    is_jailed: bool = False
    exit_node_dns_resolvers: list[Resolver] = []


class PeerChange(Wire):
    """What changed of one peer. Absent (None, 0, "") = unchanged; `{}` and `[]` clear."""

    node_id: int = field(default_factory=int)
    derp_region: int = 0
    cap: int = 0
    cap_map: CapMap | None = None
    endpoints: list[str] | None = None
    key: str = ""
    key_signature: bytes = b""
    disco_key: str = ""
    online: bool | None = None
    last_seen: str = ""
    key_expiry: str = ""


class User(Wire):
    id: int = field(default_factory=int)
    display_name: str = field(default_factory=str)
    profile_pic_url: str = ""
    created: str = ""


class Login(Wire):
    id: int = field(default_factory=int)
    provider: str = field(default_factory=str)
    login_name: str = field(default_factory=str)
    display_name: str = field(default_factory=str)
    profile_pic_url: str = ""


class UserProfile(Wire):
    id: int = field(default_factory=int)
    login_name: str = field(default_factory=str)
    display_name: str = field(default_factory=str)
    profile_pic_url: str = ""
    groups: list[str] = []
