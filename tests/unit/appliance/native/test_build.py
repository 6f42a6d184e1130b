"""`tools/build_native.sh` where the native packet step cannot be built: it says so, and all else goes on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cargo import ROOT

TOOLS = ("bash", "cut", "dirname", "head", "printf", "sed", "sort")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with what the script needs before it builds, and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def build(programs: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(programs), "HOME": str(programs.parent)}
    script = [str(programs / "bash"), str(ROOT / "tools/build_native.sh")]
    return subprocess.run(script, env=environment, capture_output=True, text=True, check=False)


def program(folder: Path, name: str, said: str, code: int = 0) -> None:
    made = folder / name
    made.write_text(f"#!{folder}/bash\necho {said}\nexit {code}\n")
    made.chmod(0o755)


def test_ok__without_cargo_it_says_so(programs: Path) -> None:
    done = build(programs)
    assert done.returncode == 0
    assert "no cargo here" in done.stderr
    assert "the userspace engine runs in pure Python" in done.stderr


@pytest.mark.parametrize("version", ["1.63.0", "1.9.0", ""])
def test_ok__with_an_old_one_too(programs: Path, version: str) -> None:
    program(programs, "cargo", "cargo was called", 1)
    if version:
        program(programs, "rustc", f"rustc {version}")
    done = build(programs)
    assert done.returncode == 0
    assert f"Rust is too old here ({version or 'no rustc'}, " in done.stderr
    assert "cargo was called" not in done.stdout + done.stderr
