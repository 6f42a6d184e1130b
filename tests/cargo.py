"""The Rust compiler of this machine, where it can build the native packet step: as `tools/build_native.sh` sees it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CRATE = ROOT / "appliance/native/crate"


@cache
def find_cargo() -> Path | None:
    """cargo, with a rustc beside it or in the path that is new enough for the crate."""
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "bin"
    program, compiler = (shutil.which(name, path=f"{os.environ['PATH']}:{home}") for name in ("cargo", "rustc"))
    if program is None or compiler is None:
        return None
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"rustc (\d+)\.(\d+)", said)
    needed = re.search(r'^rust-version = "(\d+)\.(\d+)"$', (CRATE / "Cargo.toml").read_text(), re.MULTILINE)
    assert needed is not None
    new_enough = found is not None and tuple(map(int, found.groups())) >= tuple(map(int, needed.groups()))
    return Path(program) if new_enough else None
