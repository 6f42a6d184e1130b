from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config.loader import InvalidConfigError, load_config
from appliance.config.schema import Config, control_url_problem


def write(folder: Path, text: str, name: str = "waypost.toml") -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def refused(path: Path) -> InvalidConfigError:
    with pytest.raises(InvalidConfigError) as caught:
        load_config(path)
    return caught.value


def test_ok__missing_file_means_defaults(tmp_path: Path) -> None:
    assert load_config(tmp_path / "waypost.toml") == Config()


def test_fail__named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError, match="does not exist"):
        load_config(tmp_path / "other.toml", must_exist=True)


def test_ok__drop_ins_override_in_order_of_name(tmp_path: Path) -> None:
    path = write(tmp_path, 'version = 1\n[tunnel]\nport = 1000\nmtu = 1300\n[control]\nurl = "https://a.example"\n')
    write(tmp_path / "waypost.d", "[tunnel]\nport = 3000\n", "20-late.toml")
    write(tmp_path / "waypost.d", '[tunnel]\nport = 2000\n[log]\nlevel = "debug"\n', "10-early.toml")
    config = load_config(path)
    assert (config.tunnel.port, config.tunnel.mtu) == (3000, 1300)
    assert config.log.level == "debug"
    assert config.control.url == "https://a.example"
    assert [Path(source).name for source in config.sources] == ["waypost.toml", "10-early.toml", "20-late.toml"]


def test_ok__plugin_tables_pass_through_raw_and_merge(tmp_path: Path) -> None:
    path = write(tmp_path, '[plugins.subnet_router]\nadvertise_routes = ["192.168.1.0/24"]\nsnat = true\n')
    write(tmp_path / "waypost.d", "[plugins.subnet_router]\nsnat = false\n[plugins.mine]\nx = [1]\n", "a.toml")
    assert load_config(path).plugins == {
        "subnet_router": {"advertise_routes": ["192.168.1.0/24"], "snat": False},
        "mine": {"x": [1]},
    }


def test_fail__unknown_key_names_the_nearest_and_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[tunnel]\nport = 1\n")
    drop_in = write(tmp_path / "waypost.d", "[tunnel]\nprot = 5\n", "a.toml")
    error = refused(path)
    assert error.text == f"{drop_in}:2: tunnel.prot is not a known setting"
    assert error.mend == "did you mean port?"


def test_fail__unknown_section(tmp_path: Path) -> None:
    assert refused(write(tmp_path, "[tunel]\n")).mend == "did you mean tunnel?"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('[tunnel]\nport = "1"\n', "tunnel.port", "must be a whole number"),
        ("[tunnel]\nport = true\n", "tunnel.port", "must be a whole number"),
        ("[tunnel]\nport = 70000\n", "tunnel.port", "must be between 0 and 65535"),
        ("[tunnel]\nmtu = 500\n", "tunnel.mtu", "must be between 1280 and 9000"),
        ('[tunnel]\ninterface = "a/b"\n', "tunnel.interface", "must be 1 to 15"),
        ("[node]\nhostname = 5\n", "node.hostname", "must be text in quotes"),
        ('[node]\nhostname = "a.b"\n', "node.hostname", "must be one DNS label"),
        ('[control]\nurl = "control.example"\n', "control.url", "must look like https://"),
        ('[log]\nformat = "xml"\n', "log.format", "must be one of auto, human, json"),
        ('[daemon]\nsocket = "x"\n', "daemon.socket", "must be an absolute path"),
        ("tunnel = 1\n", "tunnel", "must be a table"),
        ("[plugins]\nsubnet_router = 1\n", "plugins.subnet_router", "must be a table"),
        ("version = 2\n", "version", "is 2; this release knows versions up to 1"),
        ('version = "1"\n', "version", "must be a whole number"),
        ('[control]\nproxy = "socks5://u:secret@p.example"\n', "control.proxy", "must look like http://proxy.example"),
    ],
)
def test_fail__wrong_value_names_file_and_key(tmp_path: Path, text: str, key: str, words: str) -> None:
    path = write(tmp_path, text)
    error = refused(path)
    line = 1 + text.count("\n", 0, text.index(key.rpartition(".")[2]))
    assert error.text.startswith(f"{path}:{line}: {key} {words}")
    assert error.mend


def test_fail__all_problems_are_found_at_once(tmp_path: Path) -> None:
    error = refused(write(tmp_path, "[tunnel]\nport = -1\nmtu = 1\n[nod]\n"))
    assert [problem.key for problem in error.problems] == ["tunnel.port", "tunnel.mtu", "nod"]
    assert error.text.endswith("and 2 more")


def test_fail__broken_syntax_says_where(tmp_path: Path) -> None:
    assert "line 2" in refused(write(tmp_path, "[tunnel]\nport =\n")).text


def test_fail__not_text(tmp_path: Path) -> None:
    path = tmp_path / "waypost.toml"
    path.write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in refused(path).text


@pytest.mark.parametrize("url", ["", "https://a.example", "http://10.0.0.1:8080", "https://[2001:db8::1]:443/"])
def test_ok__control_urls(url: str) -> None:
    assert control_url_problem(url) == ""


@pytest.mark.parametrize(
    "url", ["a.example", "ftp://a", "https://", "https://a:99999", "https://a/b", "https://u:p@a", "https://a?x=1"]
)
def test_fail__control_urls(url: str) -> None:
    assert control_url_problem(url)


def test_ok__paths(tmp_path: Path) -> None:
    path = write(
        tmp_path, '[paths]\nport_mapping = "nat-pmp"\nstatic_endpoints = ["203.0.113.5:41641", "[2001:db8::5]:1"]\n'
    )
    paths = load_config(path).paths
    assert paths.port_mapping == "nat-pmp"
    assert paths.static_endpoints == ("203.0.113.5:41641", "[2001:db8::5]:1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('port_mapping = "yes"', "must be one of auto, off, pcp, nat-pmp, upnp"),
        ('static_endpoints = "203.0.113.5:41641"', "must be a list of texts in quotes"),
        ("static_endpoints = [1]", "must be a list of texts in quotes"),
        ('static_endpoints = ["home.example:41641"]', "no address with a port"),
        ('static_endpoints = ["127.0.0.1:41641"]', "nobody could reach"),
        ('static_endpoints = ["203.0.113.5:0"]', "nobody could reach"),
        (f"static_endpoints = {['203.0.113.5:1'] * 17}", "at most 16"),
        ('uplinks = ["eth0"]', "2 to 8 different interfaces"),
        ('uplinks = ["eth0", "eth0"]', "2 to 8 different interfaces"),
        ('uplinks = ["eth0", "no such/name"]', "1 to 15 letters"),
        ('uplink_policy = "random"', "must be one of order, fastest"),
    ],
)
def test_fail__paths(tmp_path: Path, text: str, words: str) -> None:
    error = refused(write(tmp_path, f"[paths]\n{text}\n"))
    assert words in error.text
    assert "paths." in error.text
