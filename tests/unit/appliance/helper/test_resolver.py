"""The host's resolver in a made-up root; `busctl` and `resolvconf` are programs of the test."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.helper import resolver as module
from appliance.helper.resolver import HEADER, ResolverKeeper
from appliance.proto.helper.messages import SetResolver

FILE = SetResolver(nameservers=("100.100.100.100",), search=("mesh.example",), way="file")
BACK = SetResolver(way="file")
OURS = HEADER + "nameserver 100.100.100.100\nsearch mesh.example\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "sys/class/net/waypost0").mkdir(parents=True)
    (tmp_path / "sys/class/net/waypost0/ifindex").write_text("7\n")
    return tmp_path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What they were called with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("busctl", "resolvconf"):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\n[ -t 0 ] || cat >> {folder}/input\n')
        program.chmod(0o755)
    monkeypatch.setattr(module, "ENVIRONMENT", {"PATH": f"{folder}:/usr/bin:/bin"})

    def calls() -> list[str]:
        path = folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    return calls


def test_ok__a_file_and_back(root: Path) -> None:
    path = root / "etc/resolv.conf"
    path.write_text("nameserver 10.0.0.1\n")
    keeper = ResolverKeeper(root)
    for _ in range(2):
        keeper.apply(FILE)
        assert path.read_text() == OURS
        assert (root / "etc/resolv.conf.before-waypost").read_text() == "nameserver 10.0.0.1\n"
    keeper.apply(BACK)
    assert path.read_text() == "nameserver 10.0.0.1\n"
    keeper.apply(BACK)
    assert sorted(each.name for each in (root / "etc").iterdir()) == ["resolv.conf"]


def test_ok__a_link_and_back(root: Path) -> None:
    path = root / "etc/resolv.conf"
    path.symlink_to("../run/stub.conf")
    ResolverKeeper(root).apply(FILE)
    assert not path.is_symlink()
    ResolverKeeper(root).apply(SetResolver())  # a later run that does not know how it was set
    assert os.readlink(path) == "../run/stub.conf"


def test_ok__no_file_and_back(root: Path) -> None:
    ResolverKeeper(root).apply(FILE)
    ResolverKeeper(root).apply(BACK)
    assert not list((root / "etc").iterdir())


def test_ok__what_others_wrote_since_stays(root: Path) -> None:
    path = root / "etc/resolv.conf"
    path.write_text("nameserver 10.0.0.1\n")
    keeper = ResolverKeeper(root)
    keeper.apply(FILE)
    path.write_text("nameserver 10.0.0.2\n")
    keeper.apply(BACK)
    assert path.read_text() == "nameserver 10.0.0.2\n"
    assert not (root / "etc/resolv.conf.before-waypost").exists()


def test_ok__a_file_that_cannot_be_renamed_over(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a bind mount in a container."""
    path = root / "etc/resolv.conf"
    path.write_text("nameserver 10.0.0.1\n")
    replace = Path.replace

    def busy(self: Path, target: Path) -> Path:
        if Path(target) == path:
            raise OSError(errno.EBUSY, "busy")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", busy)
    keeper = ResolverKeeper(root)
    keeper.apply(FILE)
    assert path.read_text() == OURS
    keeper.apply(BACK)
    assert path.read_text() == "nameserver 10.0.0.1\n"
    assert [each.name for each in (root / "etc").iterdir()] == ["resolv.conf"]


def test_ok__systemd_resolved(root: Path, programs: Callable[[], list[str]]) -> None:
    keeper = ResolverKeeper(root)
    wish = SetResolver(
        nameservers=("100.100.100.100", "fd7a:115c:a1e0::53"),
        search=("mesh.example",),
        domains=("corp.example",),
        way="resolved",
        interface="waypost0",
    )
    keeper.apply(wish)
    calls = programs()
    prefix = "busctl call org.freedesktop.resolve1 /org/freedesktop/resolve1 org.freedesktop.resolve1.Manager"
    six = "253 122 17 92 161 224 0 0 0 0 0 0 0 0 0 83"
    assert calls[:3] == [
        f"{prefix} SetLinkDNS ia(iay) 7 2 2 4 100 100 100 100 10 16 {six}",
        f"{prefix} SetLinkDomains ia(sb) 7 2 mesh.example false corp.example true",
        f"{prefix} SetLinkDefaultRoute ib 7 false",
    ]
    assert calls[-1] == f"{prefix} FlushCaches"
    keeper.apply(SetResolver())
    assert programs() == [f"{prefix} RevertLink i 7"]
    keeper.apply(SetResolver())
    assert programs() == []


def test_ok__network_manager(root: Path, programs: Callable[[], list[str]]) -> None:
    keeper = ResolverKeeper(root)
    keeper.apply(SetResolver(nameservers=("100.100.100.100",), search=("m.example",), way="network-manager"))
    (call,) = programs()
    assert call.endswith(
        "GlobalDnsConfiguration a{sv} 2 searches as 1 m.example domains a{sv} 1 * a{sv} 1 servers as 1 100.100.100.100"
    )
    keeper.apply(SetResolver())
    assert programs()[0].endswith("GlobalDnsConfiguration a{sv} 0")


@pytest.mark.parametrize(
    ("debian", "add", "remove"),
    [
        (True, "resolvconf -a tun-waypost.inet", "resolvconf -d tun-waypost.inet"),
        (False, "resolvconf -m 0 -x -a waypost", "resolvconf -f -d waypost"),
    ],
)
def test_ok__resolvconf(root: Path, programs: Callable[[], list[str]], debian: bool, add: str, remove: str) -> None:
    if debian:
        (root / "usr/lib/resolvconf").mkdir(parents=True)
        (root / "usr/lib/resolvconf/list-records").touch()
    keeper = ResolverKeeper(root)
    keeper.apply(SetResolver(nameservers=("100.100.100.100",), way="resolvconf"))
    assert programs() == [add]
    assert "nameserver 100.100.100.100" in (root / "bin/input").read_text()
    keeper.apply(SetResolver(way="resolvconf"))
    assert programs() == [remove]


def test_ok__another_way_undoes_the_former(root: Path, programs: Callable[[], list[str]]) -> None:
    (root / "etc/resolv.conf").write_text("nameserver 10.0.0.1\n")
    keeper = ResolverKeeper(root)
    keeper.apply(FILE)
    keeper.apply(SetResolver(nameservers=("100.100.100.100",), way="resolvconf"))
    assert (root / "etc/resolv.conf").read_text() == "nameserver 10.0.0.1\n"
    assert len(programs()) == 1


def test_fail__what_a_program_says_is_told(root: Path, programs: Callable[[], list[str]]) -> None:
    (root / "bin/busctl").write_text("#!/bin/sh\necho 'no such bus' >&2; exit 1\n")
    with pytest.raises(OSError, match="no such bus"):
        ResolverKeeper(root).apply(SetResolver(nameservers=("10.0.0.1",), way="network-manager"))
    (root / "run/waypost-helper/resolver-way").unlink()
    with pytest.raises(OSError, match="no interface"):
        ResolverKeeper(root).apply(SetResolver(nameservers=("10.0.0.1",), way="resolved", interface="none"))
