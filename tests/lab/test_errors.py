"""What goes wrong at the start says so in one clear line with the mend, and exits non-zero."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.mesh import CONTROL_URL, PROGRAMS, CommandResult, ControlServer, Gateway, command, page, web_server
from tests.lab.namespaces import Lab
from tests.lab.topology import CONTROL_IP, Internet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


def one_line(result: CommandResult, *words: str) -> None:
    """The command failed with exactly one line on standard error that holds every word."""
    assert result.code != 0, result.stdout
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert not [word for word in words if word.lower() not in lines[0].lower()], lines[0]
    assert "Traceback" not in result.stderr


@pytest.fixture
def internet(lab: Lab) -> Internet:
    return Internet(lab)


@pytest.fixture
def gateway(internet: Internet, tmp_path: Path) -> Gateway:
    made = Gateway(internet.server("gateway", 50), tmp_path / "gateway")
    made.start()
    return made


@pytest.fixture
def control(internet: Internet, tmp_path: Path) -> ControlServer:
    made = ControlServer(internet.server("control", 1), tmp_path / "control")
    made.start()
    return made


def test_fail__bad_pre_auth_key(control: ControlServer, gateway: Gateway) -> None:
    result = gateway.run("up", "--login-server", CONTROL_URL, "--auth-key", "-", stdin="hskey-auth-nonsense")
    one_line(result, "pre-auth key", "preauthkeys create")


def test_fail__used_single_use_key(control: ControlServer, gateway: Gateway, lab: Lab, tmp_path: Path) -> None:
    key = control.pre_auth_key()
    gateway.up(key)
    other = Gateway(gateway.host, tmp_path / "other", ("--interface", "waypost1", "--port", "41700"))
    other.start()
    one_line(other.run("up", "--login-server", CONTROL_URL, "--auth-key", "-", stdin=key), "used")


def test_fail__url_of_a_plain_web_server(internet: Internet, gateway: Gateway, tmp_path: Path) -> None:
    page(tmp_path / "web", "a page")
    web_server(internet.server("web", 60), "203.0.113.60", tmp_path / "web", 8000)
    result = gateway.run("up", "--login-server", "http://203.0.113.60:8000", "--auth-key", "-", stdin="hskey-auth-x")
    one_line(result, "http://203.0.113.60:8000", "not a control server")


def test_fail__url_where_nothing_listens(internet: Internet, gateway: Gateway) -> None:
    result = gateway.run("up", "--login-server", "http://203.0.113.50:9", "--auth-key", "-", stdin="hskey-auth-x")
    one_line(result, "http://203.0.113.50:9")


def test_fail__url_that_is_none(gateway: Gateway) -> None:
    one_line(gateway.run("up", "--login-server", "not a url", "--auth-key", "-", stdin="hskey-auth-x"), "url")


def test_fail__cli_without_a_daemon(internet: Internet, tmp_path: Path) -> None:
    one_line(Gateway(internet.server("gateway", 50), tmp_path).run("status"), "waypostd")


def daemon(tmp_path: Path) -> list[str]:
    return [str(PROGRAMS / "waypostd"), "--state-dir", str(tmp_path / "state"), "--socket", str(tmp_path / "sock")]


def test_fail__missing_privileges(internet: Internet, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    host = internet.server("gateway", 50)
    drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    one_line(command(host, *drop, *daemon(tmp_path), timeout_s=20), "CAP_NET_ADMIN")


def test_fail__missing_tun(internet: Internet, tmp_path: Path) -> None:
    host = internet.server("gateway", 50)
    hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"]
    one_line(command(host, *hide, *daemon(tmp_path), timeout_s=20), "/dev/net/tun", "modprobe")


def test_fail__second_daemon_on_the_same_socket(gateway: Gateway) -> None:
    again = [str(PROGRAMS / "waypostd"), "--state-dir", str(gateway.directory / "s2"), "--socket", str(gateway.socket)]
    one_line(command(gateway.host, *again, timeout_s=20), str(gateway.socket), "running")
    assert gateway.run("status").code == 0


def test_fail__port_of_the_control_server_is_taken(control: ControlServer, tmp_path: Path) -> None:
    again = [
        str(PROGRAMS / "waypost-control"),
        "serve",
        "--data-dir",
        str(tmp_path / "second"),
        "--listen",
        "0.0.0.0:8080",
        "--derp-host",
        CONTROL_IP,
        "--socket",
        str(tmp_path / "second.sock"),
    ]
    one_line(command(control.host, *again, timeout_s=20), "already in use", "choose another address")


def test_fail__bad_config_names_file_key_and_mend(internet: Internet, tmp_path: Path) -> None:
    config = tmp_path / "waypost.toml"
    config.write_text("version = 1\n[tunnel]\nprot = 41641\n")
    host = internet.server("gateway", 50)
    one_line(command(host, *daemon(tmp_path), "--config", str(config), timeout_s=20), "waypost.toml:3:", "prot")
    config.write_text('[plugins.subnet_router]\nadvertise_routes = [\n  "10.0.0.0/8",\n  "x",\n]\n')
    refused = command(host, *daemon(tmp_path), "--config", str(config), timeout_s=20)
    assert refused.code == 2, refused
    assert "waypost.toml:4: plugins.subnet_router.advertise_routes[1]" in refused.stderr
