"""Contributions of several plugins become one; the earlier plugin keeps a thing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from appliance.api import (
    EgressGuard,
    EgressUplink,
    FirewallPart,
    HostinfoPart,
    PrefixTranslation,
    TrafficShape,
)
from appliance.pluginhost.merging import check_firewall, merge_firewall, merge_hostinfo
from appliance.types.errors import DecodeError

DEFAULT = "0.0.0.0/0"


class Conflicts:
    def __init__(self) -> None:
        self.found: list[tuple[str, str, str]] = []

    def conflicts(self, kind: str, found: Sequence[tuple[str, str, str]]) -> None:
        self.found.extend(found)


def test_ok__guard_of_one_plugin_holds() -> None:
    sink, guard = Conflicts(), EgressGuard(site=True)
    parts = [("a", FirewallPart(("10.0.0.0/8",), snat=False)), ("b", FirewallPart(guard=guard)), ("c", None)]
    assert merge_firewall(parts, sink) == FirewallPart(("10.0.0.0/8",), False, guard)
    assert sink.found == []


def test_fail__two_guards_are_in_conflict() -> None:
    sink, guard = Conflicts(), EgressGuard()
    parts = [("a", FirewallPart(guard=guard)), ("b", FirewallPart(guard=EgressGuard(lan_access=True)))]
    assert merge_firewall(parts, sink).guard == guard
    assert sink.found == [("guard", "a", "b")]


@pytest.mark.parametrize(
    "part",
    [
        FirewallPart(("10.0.0.1/8",)),
        FirewallPart(service_addresses=("nowhere",)),
        FirewallPart(guard=EgressGuard(direct=("nowhere",))),
        FirewallPart(guard=EgressGuard(hosts=("no host",))),
        FirewallPart(uplink=EgressUplink("wg0", resolvers=("nowhere",))),
    ],
)
def test_fail__what_the_core_could_not_read(part: FirewallPart) -> None:
    with pytest.raises((ValueError, DecodeError)):
        check_firewall(part)


def test_ok__an_exit_has_one_uplink() -> None:
    sink, uplink = Conflicts(), EgressUplink("wg0")
    parts = [("a", FirewallPart(uplink=uplink)), ("b", FirewallPart(uplink=EgressUplink("wg1"))), ("c", FirewallPart())]
    assert merge_firewall(parts, sink).uplink == uplink
    assert sink.found == [("exit uplink", "a", "b")]


def test_ok__exit_in_use_is_told() -> None:
    sink = Conflicts()
    assert merge_hostinfo([("a", HostinfoPart()), ("b", HostinfoPart(exit_node="n9"))], sink).exit_node == "n9"
    parts = [("a", HostinfoPart(exit_node="n8")), ("b", HostinfoPart(exit_node="n9"))]
    assert merge_hostinfo(parts, sink).exit_node == "n8"
    assert sink.found == [("ExitNodeID", "a", "b")]


def test_ok__translations_and_limits_of_all_are_joined() -> None:
    sink, pair = Conflicts(), PrefixTranslation("192.168.1.0/24", "10.7.1.0/24")
    limits = tuple(TrafficShape((prefix,), 100, prefix) for prefix in ("10.8.0.0/16", "10.9.0.0/16"))
    parts = [("a", FirewallPart(translations=(pair,), shapes=limits[:1])), ("b", FirewallPart(shapes=limits[1:]))]
    merged = merge_firewall(parts, sink)
    assert (merged.translations, merged.shapes) == ((pair,), limits)
    assert merge_firewall([("c", FirewallPart(shapes=limits)), parts[1]], sink).shapes == limits
    assert sink.found == [(f"limit {limits[1].name}", "c", "b")]
    other = PrefixTranslation("192.168.9.0/24", "10.7.1.0/24")
    assert merge_firewall([parts[0], ("c", FirewallPart(translations=(other,)))], sink).translations == (pair,)
    assert sink.found[1:] == [("10.7.1.0/24", "a", "c")]
