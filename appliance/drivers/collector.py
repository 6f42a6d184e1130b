"""How Python's cycle collector works in a program that serves: rarely over everything, for all waits meanwhile.

Most memory is freed by reference counts at once. The defaults, made for small programs, look through every object again
and again when a batch of packets or questions holds some hundred objects at a time: tens of milliseconds each.
"""

from __future__ import annotations

import gc

THRESHOLDS = (5_000, 5, 20)
"""New objects until the young are looked through, how often that until the older ones, and how often that until all.
At most half a million objects of forgotten cycles wait for the last."""


def calm_collector() -> None:
    """To be called once all modules are loaded: what is there now is never looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
