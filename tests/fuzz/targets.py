"""Every parser that the network reaches, as a function of bytes that must not raise. One entry per protocol."""

from __future__ import annotations

from tests.fuzz import (
    control_targets,
    dns_targets,
    lan_targets,
    local_targets,
    native_targets,
    packet_targets,
    relay_targets,
    udp_targets,
)
from tests.fuzz.corpus import findings
from tests.fuzz.runner import Target

_ALL = (
    *udp_targets.TARGETS,
    *control_targets.TARGETS,
    *local_targets.TARGETS,
    *native_targets.TARGETS,
    *relay_targets.TARGETS,
    *lan_targets.TARGETS,
    *dns_targets.TARGETS,
    *packet_targets.TARGETS,
)

TARGETS: dict[str, Target] = {
    target.name: Target(target.name, target.run, [*target.seeds, *findings(target.name)], target.watched, target.words)
    for target in _ALL
}
