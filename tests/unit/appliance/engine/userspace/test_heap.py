"""Page faults of a process of its own, since the heap of this one has a history."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import resource
from appliance.engine.userspace.heap import keep_freed_memory
keep_freed_memory()
for _ in range(100):
    if _ == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [b"x" * 65_000 for _ in range(8)]
    blocks.clear()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_ok__the_same_memory_again() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000
