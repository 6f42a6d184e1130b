"""The last netmap in the form in which it is kept: a full map in wire form, compressed, with what it was valid for.

A restarted gateway works with it until control answers. Nothing of it is trusted more than control's own messages: it
goes through the same decoder, and peers whose key has run out since are cut off.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
import zstandard

from appliance.netmap.store import NetmapStore
from appliance.proto.control import messages as wire
from appliance.proto.control.mapstream import MAX_MESSAGE_SIZE, decompress
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import DiscoPrivateKey, NodePublicKey

_LEVEL = 3


class StoredNetmap(msgspec.Struct, frozen=True, kw_only=True):
    """`netmap.json`. `node_key` and `control_url`: whose map it is; `saved_at` is the control server's time.

    `netmap` is a zstd frame of a MapResponse. Peers know this node by the disco key until control names another one to
    them, so the next run takes it over.
    """

    control_url: str
    node_key: NodePublicKey
    disco_key: DiscoPrivateKey
    saved_at: datetime
    netmap: bytes


def pack(encoded: bytes) -> bytes:
    """`encoded` is `wire.encode(store.snapshot())`. Takes a while for a large mesh; any thread may do it."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(encoded)


def restore(stored: StoredNetmap, wall_now: datetime) -> NetmapStore:
    """A store that holds the map. Who is online now is unknown. Raises `DecodeError`."""
    response = wire.decode(wire.MapResponse, decompress(stored.netmap, MAX_MESSAGE_SIZE))
    for peer in response.peers:
        peer.online = None
    store = NetmapStore()
    store.time.not_before(stored.saved_at)
    store.apply(response, wall_now)
    node = store.self_node
    if node is None or node.key != stored.node_key:
        raise DecodeError(DecodeReason.UNEXPECTED, "the saved netmap is another node's")
    return store
