"""The crate's own tests, its fuzz target and a check for the other architecture of boards, where cargo is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cargo import CRATE, ROOT, find_cargo

BOARD = "aarch64-unknown-linux-gnu"


def cargo(*arguments: str) -> str:
    """Output of a cargo command on the crate; skips where there is no cargo that can build it."""
    program = find_cargo()
    if program is None:
        pytest.skip("the crate's own tests did not run: there is no cargo, or one that is too old")
    path = f"{os.environ['PATH']}:{program.parent}"
    environment = {**os.environ, "PATH": path, "CARGO_TARGET_DIR": str(ROOT / "build/native/target")}
    result = subprocess.run(
        [program, *arguments], cwd=CRATE, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.mark.timeout(500)
def test_ok__the_crates_own_tests() -> None:
    output = cargo("test", "--release", "--locked", "-p", "waypost-packets")
    assert re.search(r"test result: ok\. [1-9]\d+ passed; 0 failed", output)


@pytest.mark.long
@pytest.mark.timeout(500)
def test_ok__the_fuzz_target_finds_nothing() -> None:
    output = cargo("run", "--release", "--locked", "-p", "waypost-packets", "--bin", "fuzz", "--", "30", "1")
    assert "no finding" in output


@pytest.mark.long
@pytest.mark.timeout(500)
def test_ok__builds_for_boards() -> None:
    if shutil.which("aarch64-linux-gnu-gcc") is None:
        pytest.skip(f"not checked for {BOARD}: there is no C compiler for it")
    installed = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=False)
    if not (Path(installed.stdout.strip()) / "lib/rustlib" / BOARD).is_dir():
        pytest.skip(f"not checked for {BOARD}: rustup has no target for it")
    cargo("check", "--release", "--locked", "--target", BOARD)


def test_ok__unsafe_code_stands_in_one_file() -> None:
    files = sorted(path for path in CRATE.rglob("*.rs") if "target" not in path.parts)
    assert [path.name for path in files if re.search(r"\bunsafe\s*\{", path.read_text())] == ["buffers.rs"]
    for root in (CRATE / "packets/src/lib.rs", CRATE / "packets/src/bin/fuzz.rs"):
        assert "#![forbid(unsafe_code)]" in root.read_text()
