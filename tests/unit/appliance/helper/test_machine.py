"""The helper's hands, in a made-up root; `systemctl` is a program of the test."""

import socket

import pytest

from appliance.helper import machine as machine_module
from appliance.helper.machine import LinuxMachine
from appliance.proto.helper.messages import SetResolver


def test_ok__sysctl(tmp_path):
    setting = tmp_path / "proc/sys/net/ipv4/ip_forward"
    setting.parent.mkdir(parents=True)
    setting.write_text("0\n")
    LinuxMachine(tmp_path).set_sysctl("net/ipv4/ip_forward", "1")
    assert setting.read_text() == "1\n"


def test_fail__sysctl_never_creates_and_never_follows(tmp_path):
    folder = tmp_path / "proc/sys/net/ipv4"
    folder.mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    for name in ("none", "link"):
        with pytest.raises(OSError):
            LinuxMachine(tmp_path).set_sysctl(f"net/ipv4/{name}", "1")
    assert not (folder / "none").exists()
    assert (tmp_path / "secret").read_text() == "x"


def test_ok__hostname(tmp_path, monkeypatch):
    named = []
    monkeypatch.setattr(socket, "sethostname", named.append)  # the machine that runs the tests keeps its name
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hostname").write_text("old\n")
    (tmp_path / "etc/.hostname.waypost-new").write_text("left by a crash")
    LinuxMachine(tmp_path).set_hostname("new")
    assert (tmp_path / "etc/hostname").read_text() == "new\n"
    assert (tmp_path / "etc/hostname").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in (tmp_path / "etc").iterdir()] == ["hostname"]
    assert named == ["new"]


def test_ok__resolver_comes_and_goes(tmp_path):
    machine = LinuxMachine(tmp_path)
    machine.set_resolver(SetResolver(nameservers=("100.100.100.100",)))
    path = tmp_path / "run/waypost-helper/resolv.conf"
    assert path.read_text().endswith("nameserver 100.100.100.100\n")
    machine.set_resolver(SetResolver())
    machine.set_resolver(SetResolver())
    assert not path.exists()


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    def install(body):
        program = tmp_path / "systemctl"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setattr(machine_module, "ENVIRONMENT", {"PATH": f"{tmp_path}:/usr/bin:/bin"})

    return install


def test_ok__reboot_asks_the_service_manager(tmp_path, systemctl):
    systemctl(f'echo "$@" > {tmp_path}/asked')
    LinuxMachine().reboot()
    assert (tmp_path / "asked").read_text().split() == ["--no-block", "reboot"]


def test_fail__reboot_refused(systemctl):
    systemctl("echo 'no bus' >&2; exit 1")
    with pytest.raises(OSError, match="no bus"):
        LinuxMachine().reboot()
