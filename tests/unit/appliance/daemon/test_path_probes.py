"""Whether optional measurements are made: by the configuration, or by control's attributes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from appliance.config.schema import PathsSection
from appliance.daemon.path_probes import ProbeDesk
from appliance.types.ids import NodeId, StableNodeId
from appliance.types.keys import NodePublicKey
from appliance.types.netmap import Node


def told(section: PathsSection, *attributes: str) -> Any:
    said: list[Any] = []
    magicsock = SimpleNamespace(set_probes=lambda sizes, lifetimes: said.append((sizes, lifetimes)))
    desk = ProbeDesk(magicsock, section)  # type: ignore[arg-type]  # a part of it
    cap_map = dict.fromkeys(attributes, ())
    desk.apply(Node(NodeId(1), StableNodeId("n1"), "n1.mesh.", NodePublicKey(bytes(32)), cap_map=cap_map))
    return said


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [((), (False, False)), (("peer-mtu-enable",), (True, False)), (("probe-udp-lifetime",), (False, True))],
)
def test_ok__control_decides_unless_told_otherwise(attributes: tuple[str, ...], wanted: tuple[bool, bool]) -> None:
    assert told(PathsSection(), *attributes) == [(False, False), wanted]


def test_ok__configuration_goes_first() -> None:
    section = PathsSection(path_mtu="on", idle_paths="off")
    assert told(section, "probe-udp-lifetime") == [(True, False), (True, False)]
