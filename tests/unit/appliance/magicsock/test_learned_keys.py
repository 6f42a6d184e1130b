"""Disco keys that peers tell through their own tunnel (magicsock-disco spec 1.8)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.magicsock.machine import Magicsock
from appliance.magicsock.peers import PeerTable
from appliance.types.netmap import NetmapDiff


@pytest.fixture
def table(rig):
    table = PeerTable(rig.context)
    node = rig.node()
    table.apply(NetmapDiff(full=True, changed={node.id: node}), rig.now)
    return table


def again(rig, table, **changes):
    """A delta of control that names the peer."""
    node = rig.node(**changes)
    table.apply(NetmapDiff(changed={node.id: node}, previous={node.id: node}), rig.now)


def test_ok__told_key_replaces_that_of_control(rig, table):
    key, told = rig.node().key, rig.node(3).disco_key
    assert table.learn(key, told, rig.now)
    assert table.get(key).node.disco_key == told
    assert table.disco_sender(rig.node().disco_key) is None
    assert key in table.disco_sender(told).nodes
    assert not table.learn(key, told, rig.now)


def test_ok__told_key_outlives_control_that_does_not_know_it_yet(rig, table):
    key, told = rig.node().key, rig.node(3).disco_key
    table.learn(key, told, rig.now)
    again(rig, table, endpoints=())
    assert table.get(key).node.disco_key == told
    table.learn(key, rig.node(4).disco_key, rig.now)
    again(rig, table)
    assert table.get(key).node.disco_key == rig.node(4).disco_key


@pytest.mark.parametrize("later", [3, 5])
def test_ok__control_has_the_last_word(rig, table, later):
    """It catches up with the told key, or names a newer one; from then on its old key counts again."""
    key = rig.node().key
    table.learn(key, rig.node(3).disco_key, rig.now)
    again(rig, table, disco_key=rig.node(later).disco_key)
    assert table.get(key).node.disco_key == rig.node(later).disco_key
    again(rig, table)
    assert table.get(key).node.disco_key == rig.node().disco_key


def test_ok__peer_that_goes_takes_its_told_key_along(rig, table):
    node = rig.node()
    table.learn(node.key, rig.node(3).disco_key, rig.now)
    table.apply(NetmapDiff(removed={node.id: node}), rig.now)
    table.apply(NetmapDiff(changed={node.id: node}), rig.now)
    assert table.get(node.key).node.disco_key == node.disco_key


def test_fail__strangers_and_plain_wireguard_peers_tell_nothing(rig, table):
    assert not table.learn(rig.node(9).key, rig.node(3).disco_key, rig.now)
    plain = replace(rig.node(4), wireguard_only=True, disco_key=None)
    table.apply(NetmapDiff(changed={plain.id: plain}), rig.now)
    assert not table.learn(plain.key, rig.node(3).disco_key, rig.now)


def test_ok__machine_uses_the_told_key_and_counts_it(rig):
    machine = Magicsock(rig.ours, rig.randomness, lambda _region: None)
    node, told = rig.node(), rig.node(3).disco_key
    machine.apply(NetmapDiff(full=True, changed={node.id: node}), rig.now)
    assert machine.disco_key_of(node.key) == node.disco_key
    assert not machine.learn_disco_key(node.key, machine.disco_public_key, rig.now)
    assert machine.learn_disco_key(node.key, told, rig.now)
    assert machine.disco_key_of(node.key) == told
    assert machine.counters["disco_key_learned"] == 1
    assert machine.disco_key_of(rig.node(9).key) is None


def test_fail__keys_told_without_end(rig, table):
    key, keys = rig.node().key, [rig.node(number).disco_key for number in range(3, 9)]
    assert [table.learn(key, each, rig.now) for each in keys] == [True] * 4 + [False] * 2
    assert table.get(key).node.disco_key == keys[3]
    assert rig.outbox.counters["disco_key_flood"] == 2
    assert table.learn(key, keys[4], rig.now + 10)
