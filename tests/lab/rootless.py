"""Rootless gateways in the lab: `waypostd --rootless` as a user of nobody's, with that user's own folders."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.mesh import PROGRAMS, Gateway
from tests.lab.processes import wait_until
from tests.lab.unprivileged import ROOT, as_user

UID = 65534


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach; pytest's own belong to root alone."""
    folder = Path(tempfile.mkdtemp(prefix="waypost-lab-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def home_of(folder: Path) -> list[str]:
    """The words before a command that give it an ordinary user's environment."""
    made = {"HOME": folder / "home", "XDG_RUNTIME_DIR": folder / "run"}
    for path in made.values():
        path.mkdir(mode=0o700, exist_ok=True)
        os.chown(path, UID, UID)
    return ["env", f"PYTHONPATH={ROOT}", *(f"{name}={path}" for name, path in made.items())]


def as_person(folder: Path, *mounts: str) -> list[str]:
    """The words before a command that run it as that user."""
    prefix = as_user(folder, UID, *mounts)
    return [*prefix, *home_of(folder)]


@dataclass
class RootlessGateway(Gateway):
    """No option names its folders: it finds the user's own."""

    @property
    def socket(self) -> Path:
        return self.directory / "run/waypost/waypostd.sock"

    def start(self) -> None:
        self.starts += 1
        words = [*as_person(self.directory), str(PROGRAMS / "waypostd"), "--rootless", *self.options]
        self.process = self.host.start(f"waypostd-{self.starts}", *words)
        wait_until(self._ready, 30, f"the LocalAPI of {self.host.name}")


def inner_network(gateway: Gateway) -> int:
    """The process that holds a running gateway's network: its child of that name."""
    assert gateway.process is not None
    pid = gateway.process.popen.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (found,) = [int(child) for child in children if Path(f"/proc/{child}/comm").read_text() == "waypost-network\n"]
    return found


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()
