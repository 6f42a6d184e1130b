"""How often hard NATs are crossed: measured in the simulator, beside what the formulas say (magicsock-disco spec 4.2).

`python -m tests.sim --hard-nat 50` plays each pair of NATs so often.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing import Pool

from appliance.magicsock.hard_nat.meeting import chance
from appliance.magicsock.hard_nat.odds import hit
from appliance.magicsock.hard_nat.plan import (
    PROBES_RANDOM,
    SOCKETS_BLOCK,
    SOCKETS_RANDOM,
    STOCK_GUESSES,
)
from appliance.proto.disco import NatClass, NatMapping, PortRule
from tests.sim.nat import PORTS, Allocation, Filtering, Mapping
from tests.sim.outcome import percentile
from tests.sim.story import Story

HARD = {"mapping": Mapping.ADDRESS_AND_PORT_DEPENDENT, "filtering": Filtering.ADDRESS_AND_PORT_DEPENDENT}
ATTEMPT_S = 50.0
"""From the first packet: 15 s without a direct path, then the attempt."""
SECURE = 0.99
"""A counting NAT in the window's reach; only the others' jumps can lead out of it."""


@dataclass(frozen=True)
class Case:
    """One side is hard by `hard`, the other is an ordinary NAT or by `other`. `computed`: chance of one attempt.

    `stock`: the other side is a client that pings what a call-me-maybe lists and knows no offers. `at_least`: there may
    be more rounds or messages than the computed one.
    """

    name: str
    hard: dict[str, object]
    computed: float
    other: dict[str, object] | None = None
    stock: bool = False
    at_least: bool = False


def _random(pool: tuple[int, int]) -> dict[str, object]:
    return {**HARD, "allocation": Allocation.RANDOM, "pool": pool}


def _counting(
    step: int = 1, others: float = 0.0, mapping: Mapping = Mapping.ADDRESS_AND_PORT_DEPENDENT
) -> dict[str, object]:
    return {**HARD, "mapping": mapping, "allocation": Allocation.SEQUENTIAL, "step": step, "background": others}


def _both(name: str, one: dict[str, object], other: dict[str, object]) -> Case:
    return Case(name, one, chance(_class_of(one), _class_of(other)), other=other, at_least=True)


def _class_of(nat: dict[str, object]) -> NatClass:
    """What questions find out of such a NAT: the mapping toward the ports of one address is not among it."""
    apdm = NatMapping.ADDRESS_AND_PORT_DEPENDENT
    if nat["allocation"] is Allocation.SEQUENTIAL:
        return NatClass(apdm, PortRule.SEQUENTIAL, step=nat["step"], rate=nat["background"])
    low, count = nat["pool"]
    return NatClass(apdm, PortRule.BLOCK, low=low, high=low + count - 1)


ALL, LINUX, UPPER = (1024, PORTS), (32768, 28232), (49152, 16384)
CASES = (
    Case("random of 64512 - easy", _random(ALL), hit(SOCKETS_RANDOM, PROBES_RANDOM, ALL[1])),
    Case("random of 28232 - easy", _random(LINUX), hit(SOCKETS_RANDOM, PROBES_RANDOM, LINUX[1])),
    Case("random of 16384 - easy", _random(UPPER), hit(SOCKETS_RANDOM, PROBES_RANDOM, UPPER[1])),
    Case("block of 1024 - easy", _random((20000, 1024)), hit(SOCKETS_BLOCK, PROBES_RANDOM, 2048)),
    Case("counting by 1 - easy", {**HARD, "allocation": Allocation.SEQUENTIAL}, SECURE),
    Case(
        "counting by 2, 20 others/s - easy",
        {**HARD, "allocation": Allocation.SEQUENTIAL, "step": 2, "background": 20.0},
        SECURE,
    ),
    Case("random of 64512 - stock", _random(ALL), hit(SOCKETS_RANDOM, STOCK_GUESSES - 3, ALL[1]), None, True, True),
    Case("random of 16384 - stock", _random(UPPER), hit(SOCKETS_RANDOM, STOCK_GUESSES - 3, UPPER[1]), None, True, True),
    _both("counting by 1 - counting by 1", _counting(), _counting()),
    _both("counting by 1 - counting by 2, 5 others/s", _counting(), _counting(2, 5.0)),
    _both("counting by 1, 20 others/s - the same", _counting(others=20.0), _counting(others=20.0)),
    _both("counting by 1 - counting per address", _counting(), _counting(mapping=Mapping.ADDRESS_DEPENDENT)),
    _both("counting by 1 - block of 512", _counting(), _random((20000, 512))),
    _both("block of 512 - block of 512", _random((20000, 512)), _random((30000, 512))),
    Case("random - random", _random(ALL), 0.0, other=_random(ALL)),
)
"""The chance toward a stock peer is that of its first message; up to three are sent."""


def trial(case: Case, seed: int) -> float | None:
    """Seconds from the first packet to direct paths on both sides, None when the attempt failed."""
    story = Story(f"{case.name} {seed}", regions=3)
    a, b = story.site(**case.hard), story.site(**(case.other or {}))
    if case.stock:
        b.machine.hard_nat.max_sockets = 0
    story.world.run(3 + story.world.randomness.uniform(0, 5))
    if case.stock:
        b.takes_every_address()
    story.talk(a, b)
    at = story.world.now
    return story.world.now - at if story.direct(a, b, within=ATTEMPT_S) else None


def _play(task: tuple[int, int]) -> tuple[int, float | None]:
    case, seed = task
    return case, trial(CASES[case], seed)


def measure(trials: int, jobs: int, cases: Iterable[int] = range(len(CASES))) -> list[dict[str, object]]:
    """A row for each case: chance computed, share measured, seconds to the direct path."""
    tasks = [(case, seed) for case in cases for seed in range(trials)]
    with Pool(jobs) as pool:
        results = pool.map(_play, tasks, chunksize=2)
    rows: list[dict[str, object]] = []
    for case in dict.fromkeys(case for case, _ in tasks):
        found = [after for number, after in results if number == case]
        times = [after for after in found if after is not None]
        rows.append(
            {
                "pair": CASES[case].name,
                "computed": round(CASES[case].computed, 4),
                "measured": round(len(times) / trials, 4),
                "trials": trials,
                "at_least": CASES[case].at_least,
                "p50_s": round(percentile(times, 0.5), 1),
                "p90_s": round(percentile(times, 0.9), 1),
            }
        )
    return rows
