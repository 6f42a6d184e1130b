"""Settings of `serve` from flags and file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from appliance.types.addresses import AddrPort
from appliance.types.errors import ConfigError
from control.cli.config_file import load_config
from control.cli.options import NEVER, parse_duration

GOOD = """
version = 1
[server]
listen = "[::]:80"
domain = "net.example"
stun_port = 3479
key_expiry = "180d"
derp = false
log_level = "debug"
"""


def _write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "c.toml"
    file.write_text(text)
    return file


def test_ok__flags_win(tmp_path):
    config = load_config({"domain": "other.example", "listen": None}, _write(tmp_path, GOOD))
    assert config.server.domain == "other.example"
    assert config.server.listen == AddrPort("::", 80)
    assert (config.server.stun_port, config.server.derp_host) == (3479, None)
    assert config.server.key_expiry == timedelta(days=180)
    assert config.log_level == "debug"
    assert config.server.data_dir == Path("/var/lib/waypost-control")


def test_ok__every_flag_has_its_setting(tmp_path):
    flags = {
        "data_dir": "d", "tls_cert": "c", "tls_key": "k", "derp_host": "h", "derp_listen": "1.2.3.4:5",
        "derp_region": 901, "policy": "p", "url": "https://c.example", "socket": "s", "key_expiry": "never",
    }  # fmt: skip
    config = load_config(flags, _write(tmp_path, "version = 1"))
    assert (config.server.tls_certificate, config.server.policy_file) == (Path("c"), Path("p"))
    assert (config.server.derp_region, config.socket, config.server.key_expiry) == (901, Path("s"), None)


def test_ok__rates_of_the_relay(tmp_path):
    config = load_config({}, _write(tmp_path, "version = 1\n[server]\nderp_client_rate = 5\nderp_total_rate = 7"))
    assert (config.server.derp_client_rate, config.server.derp_total_rate) == (5, 7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version = 1\n[server]\nderp_client_rate = -1", "server.derp_client_rate: -1 does not fit"),
        ("", "version is missing"),
        ("version = 2", "version is 2"),
        ("version = 1\n[server]\nlisten = 80", "server.listen: 80 does not fit"),
        ('version = 1\n[server]\ndomian = "x"', "server.domian is not a setting"),
        ("version = 1\n[sever]", "sever is not a setting"),
        ("version = 1\nserver = 2", "server is not a section"),
        ('version = 1\n[server]\nkey_expiry = "soon"', "key_expiry: 'soon' does not fit"),
        ("version = 1\n[server]\nstun_port = 70000", "70000 does not fit"),
        ("x = = 1", "line 1"),
        ('version = 1\n[server]\ntls_cert = "c"', "needs its key"),
        ('version = 1\n[server]\nlog_level = "loud"', "does not fit"),
        ('version = 1\n[server]\nderp = "no"', "does not fit"),
        ("version = 1\n[server]\ndomain = 4", "does not fit"),
    ],
)
def test_fail__place_and_mend(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says) as caught:
        load_config({}, _write(tmp_path, text))
    assert caught.value.mend


def test_fail__no_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_config({}, tmp_path / "none")


def test_fail__a_bad_flag_is_named():
    with pytest.raises(ConfigError, match="--listen: 'x' does not fit"):
        load_config({"listen": "x"}, None)


def test_ok__durations():
    assert parse_duration("1h30m") == 5400
    assert parse_duration("never") == NEVER
    for text in ("", "1", "h", "1y", "1h ", "-1h"):
        with pytest.raises(ValueError, match="not a duration"):
            parse_duration(text)


def test_ok__database_and_key(tmp_path):
    url = "postgresql://waypost@db.example/mesh"
    config = load_config({"database": url, "noise_key": "/etc/noise.key"}, _write(tmp_path, GOOD))
    assert (config.server.database, config.server.noise_key) == (url, Path("/etc/noise.key"))
    secret = 'version = 1\n[server]\ndatabase = "postgresql://w:secret@db/mesh"\n'
    assert load_config({}, _write(tmp_path, secret)).server.database.endswith("@db/mesh")


def test_fail__a_password_among_the_arguments(tmp_path):
    with pytest.raises(ConfigError, match="every user") as refused:
        load_config({"database": "postgresql://w:secret@db/mesh"}, _write(tmp_path, GOOD))
    assert "secret" not in refused.value.line()


def test_fail__no_database_url(tmp_path):
    with pytest.raises(ConfigError, match="database"):
        load_config({"database": "mysql://db/mesh"}, _write(tmp_path, GOOD))
