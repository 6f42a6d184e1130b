"""Makes the relay's maps and program: in the root helper, or in a daemon that may do so itself."""

from __future__ import annotations

import os
from dataclasses import dataclass

from appliance.bpf import calls
from appliance.bpf.relay_program import Maps, relay_program
from appliance.bpf.relay_records import KEY, LEASE, PAIR_SIZE

NAME = "waypost_relay"
"""Of the program and of its filter, as `tc filter show` and `bpftool` tell it."""
MAX_PAIRS = 65536


@dataclass(frozen=True, slots=True)
class RelayDescriptors:
    """What the kernel keeps as long as somebody holds it."""

    program: int
    pairs: int
    lease: int

    def close(self) -> None:
        for descriptor in (self.program, self.pairs, self.lease):
            os.close(descriptor)


def load_relay(port: int, mark: int) -> RelayDescriptors:
    """For the relay at UDP `port`. Raises `OSError`: EPERM without the rights, ENOSYS or EINVAL on an old kernel."""
    made: list[int] = []
    try:
        made.append(calls.create_map(calls.HASH, KEY.size, PAIR_SIZE, MAX_PAIRS, "waypost_pairs", calls.ON_DEMAND))
        made.append(calls.create_map(calls.ARRAY, KEY.size, LEASE.size, 1, "waypost_lease"))
        pairs, lease = made
        program = calls.load_classifier(relay_program(port, mark, Maps(pairs, lease)), NAME)
    except OSError:
        for descriptor in made:
            os.close(descriptor)
        raise
    return RelayDescriptors(program, pairs, lease)
