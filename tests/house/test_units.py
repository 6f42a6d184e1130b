"""The systemd units keep what the design promises: one root process, few capabilities, a closed file system."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from appliance.daemon.successor import UNIT

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "systemd").glob("*.service"))
SOCKETS = sorted((ROOT / "systemd").glob("*.socket"))
HARDENED = (
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "RestrictNamespaces=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "MemoryDenyWriteExecute=yes",
    "SystemCallFilter=",
    "CapabilityBoundingSet=",
    "User=",
)
CAPABILITIES = {
    "waypost-guard.service": {"CAP_NET_ADMIN"},
    "waypostd.service": {"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE"},
    "waypost-apps.service": set(),
    "waypost-control.service": {"CAP_NET_BIND_SERVICE"},
    "waypost-derp.service": {"CAP_NET_BIND_SERVICE"},
    "waypost-helper.service": {"CAP_NET_ADMIN", "CAP_SYS_ADMIN"},
}
MAX_EXPOSURE = 2.5
"""Of 10, in the words of `systemd-analyze security`."""


def values(unit: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)


def test_ok__there_are_units() -> None:
    assert {unit.name for unit in UNITS} == set(CAPABILITIES)


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_ok__unit_is_hardened(unit: Path) -> None:
    text = unit.read_text()
    assert not [line for line in HARDENED if line not in text]


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_ok__root_is_the_helper_alone_and_capabilities_are_named(unit: Path) -> None:
    assert (values(unit, "User") == ["root"]) == (unit.name == "waypost-helper.service")
    assert set(" ".join(values(unit, "CapabilityBoundingSet")).split()) == CAPABILITIES[unit.name]


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_ok__programs_are_ours_and_found_wherever_they_are_installed(unit: Path) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for line in values(unit, "ExecStart") + values(unit, "ExecStopPost"):
        assert line.lstrip("-").split()[0] in scripts


@pytest.mark.parametrize("socket", SOCKETS, ids=lambda path: path.name)
def test_ok__sockets_are_closed_and_in_folders_of_root(socket: Path) -> None:
    (path,) = values(socket, "ListenStream") + values(socket, "ListenSequentialPacket")
    owners = {folder: name for unit in UNITS for folder in values(unit, "RuntimeDirectory") for name in [unit.name]}
    assert Path(path).parent.name not in owners, "systemd gives that folder to a service's user"
    assert int(values(socket, "SocketMode")[0], 8) & 0o007 == 0
    assert values(socket, "DirectoryMode") == ["0755"]
    assert (ROOT / "systemd" / f"{socket.stem}.service").exists()


@pytest.fixture
def installed(tmp_path: Path) -> list[str]:
    """The units with the programs of this environment, so that systemd finds something to run."""
    programs = Path(sys.executable).parent
    for unit in [*UNITS, *SOCKETS]:
        text = re.sub(r"^(Exec\w+=-?)(?=waypost)", rf"\g<1>{programs}/", unit.read_text(), flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text)
    return [str(tmp_path / unit.name) for unit in [*UNITS, *SOCKETS]]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.timeout(60)
def test_ok__systemd_understands_the_units(installed: list[str]) -> None:
    environ = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning"}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *installed], capture_output=True, text=True, check=False, env=environ
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.timeout(60)
def test_ok__units_expose_little(installed: list[str]) -> None:
    services = [path for path in installed if path.endswith(".service")]
    limit = f"--threshold={int(MAX_EXPOSURE * 10)}"
    command = ["systemd-analyze", "security", "--offline=true", limit, "--no-pager", *services]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, [line for line in done.stdout.splitlines() if "Overall" in line] or done.stderr


def test_ok__the_guard_comes_with_the_gateway_and_before_the_network() -> None:
    guard, gateway = ROOT / "systemd/waypost-guard.service", ROOT / "systemd/waypostd.service"
    assert any("network-pre.target" in line for line in values(guard, "Before"))
    assert any("nftables.service" in line for line in values(guard, "After")), "that one empties the rule set"
    for key in ("Wants", "After"):
        assert any(guard.name in line for line in values(gateway, key))
    assert values(guard, "StateDirectory") == values(gateway, "StateDirectory")
    assert f"{UNIT}=%n" in values(gateway, "Environment"), "the end of a run asks what follows"
    assert "[Install]" not in guard.read_text(), "where the gateway is not enabled nothing is closed"


def test_ok__plugins_unit_holds_nothing() -> None:
    text = (ROOT / "systemd/waypost-apps.service").read_text()
    for line in ("User=waypost-apps", "CapabilityBoundingSet=\n", "AmbientCapabilities=\n", "MemoryMax="):
        assert line in text
    assert "@resources" not in text, "the launcher limits each plugin's resources"
    socket = (ROOT / "systemd/waypost-apps.socket").read_text()
    assert "SocketUser=waypost\nSocketMode=0600" in socket, "only waypostd asks for plugins"
    assert "/run/waypost-apps/launcher.sock" in socket
    assert "--apps-socket /run/waypost-apps/launcher.sock" in (ROOT / "systemd/waypostd.service").read_text()
