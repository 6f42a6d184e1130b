"""The store keeps old or new content at every step of a write, and after a real SIGKILL."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.ports.store import MemoryFilesystem, PowerCutError
from appliance.state.files import FileStore
from appliance.types.errors import StateError

NAME = "profiles/1a2b/keys.json"


def disk_with_old_content() -> MemoryFilesystem:
    disk = MemoryFilesystem()
    FileStore("/state", disk).write(NAME, b"old")
    return disk.after_power_cut(kept=False)


def steps_of_a_write() -> int:
    disk = disk_with_old_content()
    FileStore("/state", disk).write(NAME, b"new")
    return len(disk.steps)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("first_write", [False, True])
def test_ok__power_cut_at_every_step_leaves_old_or_new(kept: bool, first_write: bool) -> None:
    old = None if first_write else b"old"
    seen = set()
    for step in range(20):
        disk = MemoryFilesystem() if first_write else disk_with_old_content()
        disk.fail_at = step
        finished = True
        try:
            FileStore("/state", disk).write(NAME, b"new")
        except PowerCutError:
            finished = False
        content = FileStore("/state", disk.after_power_cut(kept=kept)).read(NAME)
        assert content == b"new" if finished else content in (old, b"new"), f"step {step} of {disk.steps}"
        seen.add(content)
        if finished:
            break
    else:
        pytest.fail("the write never ended")
    assert seen == {old, b"new"}


def test_ok__left_over_of_a_crash_is_replaced_and_not_listed() -> None:
    for step in range(steps_of_a_write()):
        disk = disk_with_old_content()
        disk.fail_at = step
        with pytest.raises(PowerCutError):
            FileStore("/state", disk).write(NAME, b"lost")
        rebooted = FileStore("/state", disk.after_power_cut(kept=True))
        assert rebooted.names("profiles/1a2b") == [NAME]
        rebooted.write(NAME, b"next")
        assert rebooted.read(NAME) == b"next"


def test_ok__power_cut_while_deleting_leaves_old_or_nothing() -> None:
    for step in range(3):
        disk = disk_with_old_content()
        disk.fail_at = step
        finished = True
        try:
            FileStore("/state", disk).delete(NAME)
        except PowerCutError:
            finished = False
        for kept in (False, True):
            content = FileStore("/state", disk.after_power_cut(kept=kept)).read(NAME)
            assert content is None if finished else content in (b"old", None)


def test_ok__real_files_have_tight_rights(tmp_path: Path) -> None:
    os.umask(0o000)
    try:
        store = FileStore(str(tmp_path / "state"))
        store.write(NAME, b"x")
    finally:
        os.umask(0o022)
    path = tmp_path / "state" / NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent, tmp_path / "state"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert store.names("profiles/1a2b") == [NAME]
    store.delete(NAME)
    assert store.read(NAME) is None


def test_ok__damaged_documents_are_kept_aside_under_new_names(tmp_path: Path) -> None:
    store = FileStore(str(tmp_path))
    for content in (b"first", b"second"):
        store.write("a.json", content)
        assert Path(store.set_aside("a.json")).read_bytes() == content
    assert store.read("a.json") is None
    assert store.names("") == ["a.json.damaged-1", "a.json.damaged-2"]


def test_fail__refused_by_the_system_says_so_and_keeps_the_old(tmp_path: Path) -> None:
    class Full(MemoryFilesystem):
        def sync_file(self, path: str) -> None:
            raise OSError(28, "No space left on device")

    disk = Full()
    store = FileStore("/state", disk)
    disk.files["/state/a.json"] = b"old"
    with pytest.raises(StateError, match="No space left") as caught:
        store.write("a.json", b"new")
    assert "--state-dir" in caught.value.mend
    assert store.read("a.json") == b"old"


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../b"])
def test_fail__names_stay_below_the_root(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        FileStore(str(tmp_path)).write(name, b"")


_WRITER = """
import sys
from appliance.state.files import FileStore
store = FileStore(sys.argv[1])
number = 0
while True:
    number += 1
    store.write("a.json", (b"%d," % number) * 5000)
    print(number, flush=True)
"""


@pytest.mark.timeout(60)
def test_ok__sigkill_while_writing_leaves_one_whole_content(tmp_path: Path) -> None:
    for round_number in range(5):
        process = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        confirmed = 0
        for _ in range(3 + 2 * round_number):
            confirmed = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        confirmed = max([confirmed, *(int(line) for line in process.stdout.read().split())])
        process.wait()
        process.stdout.close()
        data = FileStore(str(tmp_path)).read("a.json")
        assert data is not None
        number = int(data.split(b",")[0])
        assert data == (b"%d," % number) * 5000
        assert number in (confirmed, confirmed + 1)
