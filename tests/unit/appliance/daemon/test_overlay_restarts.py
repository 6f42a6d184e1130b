"""When a peer's session is forgotten: its disco key changed, and it did not say so itself (spec 1.8)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.daemon.overlay import OverlayPeers
from appliance.types.ids import NodeId, StableNodeId
from appliance.types.keys import DiscoPublicKey, NodePublicKey
from appliance.types.netmap import NetmapDiff, Node

OLD, NEW = DiscoPublicKey(b"\x01" * 32), DiscoPublicKey(b"\x02" * 32)
NODE = Node(NodeId(2), StableNodeId("n2"), "n2.mesh.", NodePublicKey(b"\x05" * 32), disco_key=OLD)


def resets(before: Node, after: Node, told: DiscoPublicKey | None) -> tuple[NodePublicKey, ...]:
    peers = OverlayPeers(lambda _key: told)
    peers.apply(NetmapDiff(full=True, changed={before.id: before}))
    return peers.apply(NetmapDiff(changed={after.id: after}, previous={before.id: before})).reset


def test_ok__new_key_from_control_alone() -> None:
    assert resets(NODE, replace(NODE, disco_key=NEW), OLD) == (NODE.key,)


def test_ok__key_that_the_peer_told_keeps_the_session() -> None:
    assert resets(NODE, replace(NODE, disco_key=NEW), NEW) == ()


@pytest.mark.parametrize(("before", "after"), [(None, NEW), (OLD, None), (OLD, OLD)])
def test_ok__a_key_that_comes_goes_or_stays_is_no_restart(
    before: DiscoPublicKey | None, after: DiscoPublicKey | None
) -> None:
    assert resets(replace(NODE, disco_key=before), replace(NODE, disco_key=after), None) == ()
