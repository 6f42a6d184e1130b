"""Peer changes: applying one, deriving one from a full node, and the guard of disco keys (section 10).

These follow what stock clients do, losses included, so that our nodes and theirs see the same mesh.
"""

from __future__ import annotations

import msgspec

from appliance.proto.control.messages import ZERO_TIME, parse_time
from appliance.proto.control.nodes import Node, PeerChange
from appliance.types.errors import DecodeError
from appliance.types.keys import DiscoPublicKey

_PATCHABLE = frozenset(
    {
        "cap",
        "cap_map",
        "disco_key",
        "endpoints",
        "home_derp",
        "key",
        "key_expiry",
        "key_signature",
        "last_seen",
        "online",
    }
)
_FIXED = tuple(name for name in Node.__struct_fields__ if name not in _PATCHABLE)
_NO_DISCO_KEY = str(DiscoPublicKey.zero())


def apply_patch(node: Node, patch: PeerChange) -> bool:
    """Change `node` in place; False = the disco-key guard dropped the patch."""
    if is_stale(patch, node):
        return False
    if patch.derp_region:
        node.home_derp = patch.derp_region
    if patch.cap:
        node.cap = patch.cap
    if patch.cap_map is not None:
        node.cap_map = patch.cap_map
    if patch.endpoints is not None:
        node.endpoints = patch.endpoints
    if patch.key_signature:
        node.key_signature = patch.key_signature
    if patch.online is not None:
        node.online = patch.online
    for name in ("key", "disco_key", "last_seen", "key_expiry"):
        text = getattr(patch, name)
        if text:
            setattr(node, name, text)
    return True


def is_stale(patch: PeerChange, node: Node) -> bool:
    """A disco key from a node that is offline, told with a LastSeen that is not newer than the known one."""
    if not patch.disco_key or patch.online is not False or not patch.last_seen:
        return False
    return not is_newer(patch.last_seen, node.last_seen)


def keep_known_disco_key(node: Node, known: Node) -> None:
    """The guard for full peer lists in mid-stream: an entry that is not online keeps the key unless seen later."""
    if node.disco_key != known.disco_key and node.online is not True and not is_newer(node.last_seen, known.last_seen):
        node.disco_key = known.disco_key


def is_newer(text: str, known: str) -> bool:
    """Whether one LastSeen is later than another; an unreadable one never is."""
    try:
        moment, former = parse_time(text), parse_time(known)
    except DecodeError:
        return False
    return moment is not None and (former is None or moment > former)


def patch_between(known: Node, new: Node) -> PeerChange | None:
    """The change that turns `known` into `new` when only patchable fields differ, else None.

    Lost on purpose, as in stock clients: HomeDERP 0, absent `Endpoints`, and Online or LastSeen that appear or vanish.
    """
    for name in _FIXED:
        if getattr(known, name) != getattr(new, name):
            return None
    patch = PeerChange(node_id=new.id)
    if known.home_derp != new.home_derp:
        patch.derp_region = new.home_derp
    if known.cap != new.cap:
        patch.cap = new.cap
    if known.cap_map != new.cap_map:
        patch.cap_map = new.cap_map
    if known.endpoints != new.endpoints:
        patch.endpoints = new.endpoints
    if known.key != new.key:
        patch.key = new.key
    if known.key_signature != new.key_signature:
        patch.key_signature = new.key_signature
    if known.disco_key != new.disco_key:
        patch.disco_key = new.disco_key or _NO_DISCO_KEY
    if known.key_expiry != new.key_expiry:
        patch.key_expiry = new.key_expiry or ZERO_TIME
    if known.online is not None and new.online is not None and known.online != new.online:
        patch.online = new.online
    if known.last_seen and new.last_seen and known.last_seen != new.last_seen:
        patch.last_seen = new.last_seen
    return patch


def upgrade_legacy(node: Node) -> None:
    """Fold the old spellings into the new ones: `DERP` into HomeDERP, `Capabilities` into CapMap."""
    if node.legacy_derp:
        host, _, region = node.legacy_derp.partition(":")
        if not node.home_derp and host == "127.3.3.40" and region.isascii() and region.isdigit() and len(region) < 6:
            node.home_derp = int(region)
        node.legacy_derp = ""
    if node.capabilities:
        node.cap_map = {**{name: [] for name in node.capabilities}, **node.cap_map}
        node.capabilities = []


def copy_node(node: Node) -> Node:
    """A shallow copy, so that later patches do not reach it."""
    return msgspec.structs.replace(node)
