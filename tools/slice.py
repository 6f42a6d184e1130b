"""Run a slice of `make test-all`, chosen by the commit's hash: tests marked `long`, fuzzing, then simulator seeds.

The same commit always takes the same slice; over many commits every test and every part of the seed space gets its
turn. Tests that boot a machine (`make qemu`) are not among them: they need Debian packages that `make test` does not,
and one of them may take as long as the slice has. Exits with the first failure's code.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

SLICES = 4
SEED_SPACE = 10_000
SEEDS_PER_RUN = 500
FUZZ_SECONDS = 120
LONG_SHARE = 0.6
"""Of the time, until which long tests are begun; what is left out then is named."""


def commit_number() -> int:
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    return int(head[:8], 16)


def long_tests() -> list[str]:
    listing = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "long and not qemu", "tests", "plugins"],
        check=False,
        capture_output=True,
        text=True,
    )
    if listing.returncode not in (0, 5):  # 5: no test is marked long
        sys.exit(f"slice: collecting the long tests failed:\n{listing.stdout}{listing.stderr}")
    return sorted(line for line in listing.stdout.splitlines() if "::" in line)


def run_long(chosen: list[str], stop_s: float, deadline: float) -> int:
    """One after the other, in processes of their own; after `stop_s` (monotonic) none is begun any more."""
    for count, test in enumerate(chosen):
        if time.monotonic() > stop_s:
            print(f"slice: no time left for {len(chosen) - count} long tests: {', '.join(chosen[count:])}")
            return 0
        code = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", test], check=False, timeout=deadline - time.monotonic()
        ).returncode
        if code:
            return code
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=35.0)
    minutes = parser.parse_args().minutes
    started = time.monotonic()
    deadline = started + minutes * 60
    number = commit_number()
    chosen = long_tests()[number % SLICES :: SLICES]
    print(f"slice: {len(chosen)} long tests", flush=True)
    code = run_long(chosen, started + minutes * 60 * LONG_SHARE, deadline)
    if code:
        return code
    print(f"slice: {FUZZ_SECONDS} s of fuzzing with seed {number}", flush=True)
    code = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--seconds", str(FUZZ_SECONDS), "--seed", str(number)], check=False
    ).returncode
    if code:
        return code
    first = number % (SEED_SPACE - SEEDS_PER_RUN)
    seeds = f"{first}-{first + SEEDS_PER_RUN - 1}"
    print(f"slice: simulator seeds {seeds}")
    return subprocess.run(
        [sys.executable, "-m", "tests.sim", "--seeds", seeds], check=False, timeout=deadline - time.monotonic()
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
