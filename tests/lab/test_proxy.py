"""A site whose only way out is an HTTP proxy: it logs in, and reaches the other site over DERP."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.lab.mesh import CONTROL_IP, CONTROL_PORT, CONTROL_URL
from tests.lab.namespaces import Lab
from tests.lab.sites import two_sites, wait_for_page

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

PROGRAM = Path(__file__).with_name("proxy_program.py")
NO_WAY_OUT = """table inet wall {
    chain forward {
        type filter hook forward priority -10; policy accept;
        iifname "lan" oifname "wan" drop
    }
}"""


def test_ok__site_behind_a_proxy(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path)
    sites.site_a.router.nft(NO_WAY_OUT)
    router_ip = "192.168.10.1"
    proxy = sites.site_a.router.start("proxy", sys.executable, str(PROGRAM), router_ip, "3128", "user:pass word")
    proxy.wait_for_output("listening")
    config = tmp_path / "waypost.toml"
    config.write_text(f'version = 1\n[control]\nproxy = "http://user:pass%20word@{router_ip}:3128"\n')
    sites.a.options = ("--config", str(config))
    sites.join()
    wait_for_page(sites)
    assert sites.a.path_to("gateway-b") == "derp"
    targets = set(proxy.output().splitlines()[1:])
    assert f"CONNECT {CONTROL_IP} {CONTROL_PORT}" in targets
    assert len(targets) > 1, "DERP takes the proxy too"
    for log in lab.log_dir.glob("*waypost*.log"):
        assert "pass word" not in log.read_text(errors="replace")


def test_fail__wrong_password_is_said(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path)
    sites.site_a.router.nft(NO_WAY_OUT)
    proxy = sites.site_a.router.start("proxy", sys.executable, str(PROGRAM), "192.168.10.1", "3128", "user:right")
    proxy.wait_for_output("listening")
    config = tmp_path / "waypost.toml"
    config.write_text('version = 1\n[control]\nproxy = "http://user:wrong@192.168.10.1:3128"\n')
    sites.a.options = ("--config", str(config))
    sites.a.start()
    result = sites.a.run("up", "--login-server", CONTROL_URL, "--auth-key", "-", stdin="key")
    assert result.code == 1
    assert "407 Proxy Authentication Required" in result.stderr
    assert "wrong" not in result.stderr
