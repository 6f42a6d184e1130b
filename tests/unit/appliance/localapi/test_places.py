from __future__ import annotations

import socket
from pathlib import Path

from appliance.localapi.places import found_socket, user_config, user_socket, user_state


def test_ok__xdg_folders_and_what_stands_in_for_them() -> None:
    home = {"HOME": "/home/ada"}
    assert user_config(home) == Path("/home/ada/.config/waypost/waypost.toml")
    assert user_state(home) == Path("/home/ada/.local/state/waypost")
    assert user_socket(home) == Path("/home/ada/.local/state/waypost/waypostd.sock")
    given = {**home, "XDG_RUNTIME_DIR": "/run/user/7", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "relative"}
    assert user_socket(given) == Path("/run/user/7/waypost/waypostd.sock")
    assert user_state(given) == Path("/s/waypost")
    assert user_config(given) == user_config(home)


def test_ok__the_machines_gateway_comes_first(tmp_path: Path) -> None:
    environ, system = {"XDG_RUNTIME_DIR": str(tmp_path)}, tmp_path / "system.sock"
    own = user_socket(environ)
    assert found_socket(environ, system) == system  # nothing is there: name the usual one
    own.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(own))
        assert found_socket(environ, system) == own
        system.touch()
        assert found_socket(environ, system) == system
