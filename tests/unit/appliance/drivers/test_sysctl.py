"""/proc/sys below a made-up root, and the journal file."""

import pytest

from appliance.drivers.sysctl import FileJournal, ProcSysctl
from appliance.ports.sysctl import SysctlError
from appliance.types.errors import StateError


async def test_ok__read_write_list(tmp_path):
    (tmp_path / "net/ipv4/conf/eth0.5").mkdir(parents=True)
    setting = tmp_path / "net/ipv4/conf/eth0.5/forwarding"
    setting.write_text("0\n")
    sysctl = ProcSysctl(str(tmp_path))
    assert await sysctl.read("net/ipv4/conf/eth0.5/forwarding") == "0"
    await sysctl.write("net/ipv4/conf/eth0.5/forwarding", "1")
    assert setting.read_text().startswith("1")
    assert await sysctl.children("net/ipv4/conf") == ["eth0.5"]
    assert await sysctl.children("net/none") == []
    assert await sysctl.read("net/none") is None


@pytest.mark.parametrize("key", ["net/none", "../etc/passwd", "/etc/passwd"])
async def test_fail__never_creates_or_leaves_the_root(tmp_path, key):
    with pytest.raises(SysctlError):
        await ProcSysctl(str(tmp_path / "sys")).write(key, "1")


def test_ok__journal(tmp_path):
    path = tmp_path / "run/router.json"
    journal = FileJournal(path)
    assert journal.load() == {}
    journal.save({"sysctl": {"a": {"before": "0"}}})
    assert FileJournal(path).load() == {"sysctl": {"a": {"before": "0"}}}
    journal.save({})
    assert not path.exists()
    path.write_text("{half")
    assert journal.load() == {}
    path.write_text("[]")
    assert journal.load() == {}


def test_fail__journal_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError):
        FileJournal(tmp_path / "file/journal").save({"a": 1})
