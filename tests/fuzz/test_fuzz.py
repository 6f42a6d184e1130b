"""The runner finds what is planted, repeats by seed, and every target holds on what is known to be hard."""

from __future__ import annotations

import json

import pytest

from tests.fuzz import runner
from tests.fuzz.corpus import FINDINGS
from tests.fuzz.runner import Finding, Target, fuzz, run_one
from tests.fuzz.targets import TARGETS


def gated(data: bytes) -> None:
    """A defect behind six gates of one in sixteen: blind guessing would need 2^24 inputs."""
    for at, nibble in enumerate((0x7, 0x6, 0x2, 0xA, 0xF, 0x1)):
        if at >= len(data) or data[at] >> 4 != nibble:
            return
        GATES[at]()
    raise ValueError("planted")


# One line each, so that every gate is a step of its own.
GATES = (
    lambda: None,
    lambda: None,
    lambda: None,
    lambda: None,
    lambda: None,
    lambda: None,
)


PLANTED = Target("planted", gated, [bytes(8)], ("tests/fuzz/test_fuzz.py",))


def found(seed: int) -> Finding | None:
    return fuzz(PLANTED, seed, runs=100_000).finding


def test_ok__coverage_leads_to_a_planted_defect_and_a_seed_repeats() -> None:
    finding = found(7)
    assert finding is not None
    assert finding == found(7)
    assert finding.data.hex() in str(finding)
    assert run_one(PLANTED, finding.data) is not None
    assert run_one(PLANTED, finding.data[:5]) is None


def test_fail__an_endless_loop_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(data: bytes) -> None:
        while data:
            pass

    monkeypatch.setattr(runner, "LIMIT_S", 0.05)
    finding = run_one(Target("endless", endless, [], ()), b"x")
    assert finding is not None
    assert "TooSlow" in finding.error


@pytest.mark.parametrize("name", TARGETS)
def test_ok__seeds_and_former_findings_break_nothing(name: str) -> None:
    target = TARGETS[name]
    assert target.seeds
    for seed in target.seeds:
        for data in (seed, seed[:-1], seed[: len(seed) // 2], seed + seed):
            finding = run_one(target, data)
            assert finding is None, finding


@pytest.mark.parametrize("name", TARGETS)
def test_ok__a_target_reaches_its_code(name: str) -> None:
    assert fuzz(TARGETS[name], 0, seconds=0.0).lines > 10


def test_ok__finding_files_belong_to_a_target() -> None:
    for path in FINDINGS.glob("*.json"):
        assert path.stem in TARGETS
        assert all(entry["why"] for entry in json.loads(path.read_text())["inputs"])
