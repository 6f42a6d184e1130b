"""What gateways do for each other and for their hosts on the kernel's WireGuard: run inside the guest (`make qemu`)."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.mesh import Gateway
from tests.lab.namespaces import Lab, Namespace
from tests.lab.processes import wait_until
from tests.lab.rootless import open_folder
from tests.lab.router_host import inside
from tests.lab.sites import TwoSites, two_sites
from tests.lab.test_privileges import check_daemons
from tests.lab.unprivileged import UID, UnprivilegedGateway, capability_mask, inhabitants
from tests.qemu.guest.gateways import (
    SLOW,
    joined,
    network,
    wait_for_network,
    wait_for_page,
    without_device,
)

pytestmark = pytest.mark.timeout(1700)

TSMP = 99


@pytest.fixture
def open_path() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


def rejection(sites: TwoSites, port: int) -> bytes:
    """What gateway-a gets from inside the tunnel when it connects to a port of LAN B's host that is refused."""
    with inside(sites.a.host):
        arriving = socket.socket(socket.AF_INET, socket.SOCK_RAW, TSMP)
        connecting = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with arriving, connecting:
        arriving.settimeout(SLOW)
        connecting.setblocking(False)
        connecting.connect_ex((sites.site_b.host_ip, port))
        own, own_port = connecting.getsockname()
        while True:
            packet = arriving.recv(2048)
            source, destination, message = packet[12:16], packet[16:20], packet[20:]
            if message[:1] == b"!" and message[3:5] == own_port.to_bytes(2, "big"):
                assert source == socket.inet_aton(sites.site_b.host_ip)
                assert destination == socket.inet_aton(own)
                return message


def refusals(sites: TwoSites) -> set[tuple[str, str]]:
    """What gateway-a says of them."""
    lines = map(json.loads, sites.a.must("debug", "events", "--no-follow", "--json").splitlines())
    return {(line["fields"]["destination"], line["fields"]["reason"]) for line in lines if line["kind"] == "refused"}


def check_refusals(sites: TwoSites) -> None:
    """From the flow's destination to its source: '!', protocol, reason, the refused flow's ports (node-os spec 1.5)."""
    host = sites.site_b.host_ip
    by_policy = rejection(sites, 81)
    assert (by_policy[:3], by_policy[5:]) == (b"!\x06A", (81).to_bytes(2, "big"))
    wait_until(lambda: refusals(sites) == {(f"{host}:81", "policy")}, SLOW, "gateway-a to say why")
    sites.b.must("set", "--shields-up")
    wait_until(lambda: not sites.page_comes(), SLOW, "shields of gateway-b to be up")
    by_shields = rejection(sites, 80)
    assert (by_shields[:3], by_shields[5:]) == (b"!\x06S", (80).to_bytes(2, "big"))
    wait_until(lambda: (f"{host}:80", "shields up") in refusals(sites), SLOW, "gateway-a to say why")


def as_unit_runs_it(host: Namespace, directory: Path, *, kernel_settings: bool) -> UnprivilegedGateway:
    """Without the status page, which needs the unit of `waypost-apps` as well, and would be started again and again."""
    gateway = UnprivilegedGateway(host, directory, kernel_settings=kernel_settings)
    config = directory.with_suffix(".toml")
    daemon = f'[daemon]\nhelper_socket = "{gateway.helper_socket}"\n'
    config.write_text(f"version = 1\n{daemon}[plugins.status_page]\nenabled = false\n")
    gateway.options = ("--config", str(config))
    return gateway


def check_privileges(gateway: Gateway, helpers: set[int]) -> None:
    """The daemon holds what its unit gives, its children no more, and nothing is root but helpers."""
    processes, mask = inhabitants(gateway.host), capability_mask("waypostd.service")
    check_daemons(processes, "waypostd", UID, mask, 1)
    roots = {pid for pid, status in processes.items() if "0" in status["Uid"].split()}
    assert roots - {gateway.host.anchor.pid} == helpers
    for pid in processes.keys() - roots:
        held = [int(processes[pid][each], 16) for each in ("CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd")]
        assert not any(each & ~mask for each in held), processes[pid]


def test_ok__three_capabilities_are_enough_down_leaves_nothing_refusals_are_told(lab: Lab, open_path: Path) -> None:
    """An ordinary user, system calls filtered as in the unit; kernel settings are the helper's at site A."""
    sites = two_sites(lab, open_path)
    policy = open_path / "policy.hujson"
    policy.write_text(json.dumps({"acls": [{"action": "accept", "src": ["*"], "dst": ["*:80"]}]}))
    assert sites.control.run("policy", "set", str(policy)).code == 0
    gateway = as_unit_runs_it(sites.site_a.gateway, open_path / "a", kernel_settings=False)
    sites.a, sites.b = gateway, as_unit_runs_it(sites.site_b.gateway, open_path / "b", kernel_settings=True)
    helper = gateway.start_helper()
    untouched = network(gateway.host)
    joined(sites)
    check_privileges(sites.a, {helper.popen.pid})
    check_privileges(sites.b, set())
    gateway.must("down")
    wait_for_network(gateway.host, untouched, "down to take back what up made", without_device)
    assert gateway.host.ip("-o addr show dev waypost0") == ""
    gateway.must("up")
    wait_for_page(sites)
    check_refusals(sites)
