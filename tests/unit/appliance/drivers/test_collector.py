"""The collector as a program that serves sets it, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

from appliance.drivers.collector import THRESHOLDS

PROGRAM = """
import gc, json
from appliance.drivers.collector import calm_collector
calm_collector()
frozen = gc.get_freeze_count()
batches = gc.get_stats()[2]["collections"]
for _ in range(200):
    held = [[] for _ in range(1000)]
class Knot: pass
class Seen:
    gone = 0
    def __del__(self): Seen.gone += 1
for _ in range(600_000):
    knot = Knot(); knot.self = knot; knot.seen = Seen()
whole = gc.get_stats()[2]["collections"] - batches
print(json.dumps([frozen, gc.get_threshold(), Seen.gone, whole]))
"""


def test_ok__what_was_loaded_is_frozen_and_forgotten_cycles_still_go() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    frozen, thresholds, gone, _ = json.loads(done.stdout)
    assert frozen > 1000
    assert tuple(thresholds) == THRESHOLDS
    assert gone > 300_000


def test_ok__batches_do_not_bring_it_to_look_through_everything() -> None:
    program = PROGRAM.replace("600_000", "0")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[3] == 0
