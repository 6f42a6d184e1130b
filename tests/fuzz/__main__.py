"""`python -m tests.fuzz [--seconds N] [--seed S] [TARGET …]`: fuzz the parsers that the network reaches.

Time is shared evenly. The first finding of each target ends it and is printed with its input as hexadecimal; put that
into `tests/vectors/fuzz/<target>.json` with the repair, where every later run and the unit tests start from.
"""

from __future__ import annotations

import argparse
import sys

from tests.fuzz.runner import Finding, fuzz, run_one
from tests.fuzz.targets import TARGETS


def replay(names: list[str], data: bytes) -> int:
    found = [finding for name in names if (finding := run_one(TARGETS[name], data)) is not None]
    for finding in found:
        print(finding)
    print("the input breaks nothing" if not found else f"{len(found)} findings")
    return 1 if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the parsers that the network reaches.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=60.0, help="in all, shared by the targets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=sys.maxsize, help="inputs per target at most")
    parser.add_argument("--input", metavar="HEX", help="run this one input and say what happens")
    options = parser.parse_args()
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    names = options.targets or list(TARGETS)
    if options.input is not None:
        return replay(names, bytes.fromhex(options.input))
    findings: list[Finding] = []
    for name in names:
        outcome = fuzz(TARGETS[name], options.seed, seconds=options.seconds / len(names), runs=options.runs)
        rate = outcome.runs / max(outcome.seconds, 1e-9)
        print(
            f"fuzz: {name:<12} {outcome.runs:>8} inputs {rate:>7.0f}/s {outcome.lines:>6} steps "
            f"{outcome.corpus:>5} kept  {'FOUND' if outcome.finding else 'ok'}",
            flush=True,
        )
        if outcome.finding is not None:
            findings.append(outcome.finding)
    for finding in findings:
        print(f"\n{finding}  --seed {options.seed}", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
