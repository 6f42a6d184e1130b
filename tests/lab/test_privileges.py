"""No root but the helper: gateways as an ordinary user with three capabilities, on real packets.

Site A's daemon sees a read-only /proc/sys, as under its unit, and has a helper; site B's daemon has no helper and a
writable /proc/sys, as in a container.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.mesh import fetch
from tests.lab.namespaces import Lab, Namespace
from tests.lab.processes import Process, wait_until
from tests.lab.rootless import open_folder
from tests.lab.sites import TwoSites, two_sites, wait_for_page
from tests.lab.unprivileged import CONTROL_UID, UID, UnprivilegedGateway, as_unit, capability_mask, inhabitants

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")


@pytest.fixture
def open_path() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture
def sites(open_path: Path, lab: Lab) -> TwoSites:
    control = as_unit("waypost-control.service", open_path / "control", CONTROL_UID)
    built = two_sites(lab, open_path, control_wrapper=tuple(control))
    built.a = UnprivilegedGateway(built.site_a.gateway, open_path / "a", kernel_settings=False)
    built.b = UnprivilegedGateway(built.site_b.gateway, open_path / "b")
    return built


def settings(host: Namespace) -> list[str]:
    return host.run("sysctl", "-n", *FORWARDING).split()


def network(host: Namespace) -> list[str]:
    commands = (
        ("ip", "rule"),
        ("ip", "-6", "rule"),
        ("ip", "route", "show", "table", "all"),
        ("ip", "-6", "route", "show", "table", "all"),
        ("nft", "list", "ruleset"),
        ("sysctl", "-a", "-r", r"^net\.ipv[46]\.(ip_forward|conf\.(all|default|eth0|lo)\.)"),
    )
    return [host.run(*each) for each in commands]


def sysctl_calls(helper: Process) -> list[tuple[str, str, int]]:
    """Settings that were made: key, value, caller."""
    lines = [line for line in calls(helper) if line["verb"] == "set-sysctl"]
    assert {line["outcome"] for line in lines} == {"done"}
    return [(line["key"], line["value"], line["uid"]) for line in lines]


def calls(helper: Process) -> list[dict[str, object]]:
    """The audit trail."""
    lines = (json.loads(line) for line in helper.output().splitlines() if line.startswith("{"))
    return [line for line in lines if line["event"] == "helper-call"]


def mode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, stat.S_IMODE(found.st_mode)


def check_daemons(processes: dict[int, dict[str, str]], name: str, uid: int, mask: int, count: int) -> None:
    """Exactly the unit's capabilities, in every set, under its filters, and no way to more."""
    daemons = [status for status in processes.values() if f"/{name} " in status["Command"]]
    assert len(daemons) == count
    for status in daemons:
        assert status["Uid"].split() == status["Gid"].split() == [str(uid)] * 4
        assert {int(status[each], 16) for each in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd")} == {mask}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_ok__mesh_without_root(sites: TwoSites) -> None:
    gateway = sites.a
    assert isinstance(gateway, UnprivilegedGateway)
    helper = gateway.start_helper()
    before = network(gateway.host), network(sites.b.host)
    assert settings(gateway.host) == ["0", "0"]

    sites.join()
    wait_for_page(sites)

    hosts = (gateway.host, sites.b.host, sites.control.host)
    processes = {pid: status for host in hosts for pid, status in inhabitants(host).items()}
    check_daemons(processes, "waypostd", UID, capability_mask("waypostd.service"), 2)
    check_daemons(processes, "waypost-control", CONTROL_UID, capability_mask("waypost-control.service"), 1)
    roots = {pid for pid, status in processes.items() if "0" in status["Uid"].split()}
    assert roots - {host.anchor.pid for host in hosts} == {helper.popen.pid}
    assert processes[helper.popen.pid]["Seccomp"] == "2"

    # The filter that was applied without root is in force, and can be asked.
    asked = sites.b.run("debug", "firewall", "gateway-a", sites.site_b.host_ip, "tcp", "80")
    assert (asked.code, "accepted by filter rule" in asked.stdout) == (0, True), asked
    assert sites.b.run("debug", "firewall", "gateway-a", "192.0.2.1", "tcp", "80").code == 1

    # Files: keys for their owner alone, the local API for everyone, the helper for the daemon.
    state = gateway.directory / "state"
    assert mode(state) == (UID, 0o700)
    files = [path for path in state.rglob("*") if path.is_file()]
    assert files
    assert {mode(path) for path in files} == {(UID, 0o600)}
    assert mode(gateway.socket) == (UID, 0o666)
    assert mode(gateway.helper_socket) == (0, 0o660)

    # Kernel settings: by the helper where the daemon may not, and each call is in the audit trail.
    assert settings(gateway.host)[0] == settings(sites.b.host)[0] == "1"
    assert ("net/ipv4/ip_forward", "1", UID) in sysctl_calls(helper)
    assert "ip-forwarding-off" not in json.dumps(gateway.status()["health"])

    # A program for the kernel: from the helper alone.
    for one in (gateway, sites.b):
        one.must("plugins", "enable", "peer_relay")
        wait_until(lambda one=one: one.json("relay", "status")["listening"], 15, "the relay's port")
    wait_until(lambda: gateway.json("relay", "status")["kernel"]["on"], 15, "the helper's program")
    assert '"verb":"load-relay"' in helper.output()
    reason = "the helper does not answer"
    wait_until(lambda: reason in sites.b.json("relay", "status")["kernel"]["reason"], 15, "the reason at site B")
    assert "not in the kernel: the helper" in sites.b.run("relay", "status").stdout
    for one in (gateway, sites.b):
        one.must("plugins", "disable", "peer_relay")

    for one, earlier in ((gateway, before[0]), (sites.b, before[1])):
        one.must("down")
        wait_until(lambda one=one, earlier=earlier: network(one.host) == earlier, 10, f"{one.host.name} as before")
        assert "clsact" not in one.host.run("tc", "qdisc", "show")
    assert ("net/ipv4/ip_forward", "0", UID) in sysctl_calls(helper)


def test_fail__without_helper_and_with_read_only_settings_health_says_so(sites: TwoSites) -> None:
    sites.join()
    wait_until(lambda: "ip-forwarding-off" in json.dumps(sites.a.status()["health"]), 20, "the health item")
    item = next(item for item in sites.a.status()["health"] if item["code"] == "ip-forwarding-off")
    assert "waypost-helper.socket" in json.dumps(item)
    assert fetch(sites.site_a.host, f"{sites.url}/", 2) is None
    assert settings(sites.a.host)[0] == "0"
    assert "ip-forwarding-off" not in json.dumps(sites.b.status()["health"])
