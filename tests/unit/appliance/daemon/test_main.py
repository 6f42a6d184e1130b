from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.config.schema import Config
from appliance.daemon.main import rootless_config, with_options

pytestmark = pytest.mark.timeout(60)
"""A process imports the whole daemon."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from appliance.daemon.main import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_ok__options_go_before_the_file() -> None:
    config = with_options(Config(), {"state_dir": "/x", "port": 0, "interface": None, "log_format": "json"})
    assert config.daemon.state_dir == "/x"
    assert config.daemon.socket == Config().daemon.socket
    assert (config.tunnel.port, config.tunnel.interface, config.log.format) == (0, "waypost0", "json")


def test_ok__rootless_takes_the_users_own_places() -> None:
    environ = {"HOME": "/home/ada", "XDG_RUNTIME_DIR": "/run/user/7"}
    config = rootless_config(Config(), environ)
    assert config.daemon.rootless
    assert config.daemon.state_dir == "/home/ada/.local/state/waypost"
    assert config.daemon.socket == "/run/user/7/waypost/waypostd.sock"
    assert (config.tunnel.port, config.tunnel.engine) == (0, "userspace")
    chosen = with_options(Config(), {"rootless": True, "state_dir": "/x", "port": 41641})
    assert (chosen.daemon.state_dir, chosen.tunnel.port, chosen.daemon.rootless) == ("/x", 41641, True)


def test_fail__bad_config_is_one_line_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "waypost.toml"
    path.write_text("[tunnel]\nprot = 1\n")
    done = run("--config", str(path), "--state-dir", str(tmp_path / "s"), "--socket", str(tmp_path / "x"))
    assert done.returncode == 2
    assert done.stderr == f"waypostd: {path}:2: tunnel.prot is not a known setting → did you mean port?\n"


def test_fail__unknown_option_is_usage(tmp_path: Path) -> None:
    done = run("--nonsense")
    assert done.returncode == 2
    assert "No such option" in done.stderr
