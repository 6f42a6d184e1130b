"""Garbage at the highest rate that the sender reaches, on every listening port, while two sites are joined.

The process stays up, its memory stays bounded, its counters tell, and legitimate traffic comes back at once.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.mesh import command
from tests.lab.processes import wait_until
from tests.lab.sites import TwoSites, two_sites, wait_for_page
from tests.lab.topology import CONTROL_IP

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.namespaces import Lab, Namespace
    from tests.lab.processes import Process

pytestmark = [pytest.mark.lab, pytest.mark.timeout(90)]

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10.0
"""Of garbage in one test; attacks on one port share it."""
GROWTH_MIB = 40.0
"""Most that a process may have grown after the garbage: its caches are bounded, and nothing else may keep it."""
BACK_S = 3.0
"""Most seconds until a page comes again after the last hostile byte."""


def rss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def plugin_pid(process: Process | None, name: str) -> int:
    """The plugin's own process, a child of the launcher that the daemon started."""
    assert process is not None
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, rest = stat.read_text().rpartition(")")
            parents[int(stat.parent.name)] = (int(rest.split()[1]), head.partition("(")[2])
    found = [
        pid
        for pid, (parent, comm) in parents.items()
        if comm == f"wp-{name}"[:15] and parents.get(parent, (0, ""))[0] == process.popen.pid
    ]
    assert len(found) == 1, found
    return found[0]


def attack(host: Namespace, kind: str, target: str, seconds: float, during: Callable[[], None]) -> dict[str, Any]:
    """Send from `host`; `during` is called meanwhile. What was sent."""
    sender = host.start(
        f"garbage-{kind}",
        sys.executable,
        "-m",
        "tests.lab.garbage",
        kind,
        target,
        str(seconds),
        env={"PYTHONPATH": str(ROOT)},
    )

    def ended() -> bool:
        if sender.running:
            during()
        return not sender.running

    wait_until(ended, seconds + 30, "the sender to end")
    assert sender.popen.returncode == 0, sender.output()
    return dict(json.loads(sender.output().splitlines()[-1]))


def joined(lab: Lab, directory: Path) -> TwoSites:
    sites = two_sites(lab, directory)
    sites.join()
    wait_for_page(sites)
    sites.a.wait_for_path("gateway-b", "direct")
    return sites


def refused(sites: TwoSites, part: str) -> int:
    """What the attacked part says that it refused: a part of the control server, or "gateway"."""
    if part == "gateway":
        counters = sites.a.json("debug", "counters")
        wanted = ("unknown_", "disco_", "geneve_", "bad_", "handshake_", "cookie_", "index_", "mac", "not_", "stun_")
    else:
        counters = sites.control.json("counters")[part]
        wanted = ("bad_", "ignored", "tunnel_", "closed", "request_", "stream_")
    return sum(value for name, value in counters.items() if name.startswith(wanted) and name != "tunnel_opened")


def hold(
    sites: TwoSites,
    host: Namespace,
    kind: str,
    target: str,
    process: Process | None,
    seconds: float = SECONDS,
    pid: int = 0,
) -> None:
    """One attack on `process`, or on its child `pid`, and what must be true after it."""
    assert process is not None
    pid = pid or process.popen.pid
    before = rss_mib(pid)
    pages: list[bool] = []
    sent = attack(host, kind, target, seconds, lambda: pages.append(sites.page_comes()))
    back_s = wait_for_page(sites, BACK_S)
    after = rss_mib(pid)
    print(
        f"\n{kind}: {sent['messages']} messages, {sent['messages'] / sent['seconds']:,.0f}/s, "
        f"{sent['bytes'] * 8 / sent['seconds'] / 1e6:,.1f} Mbit/s; pages meanwhile {sum(pages)}/{len(pages)}; "
        f"page back after {back_s:.2f} s; RSS {before:.0f} -> {after:.0f} MiB"
    )
    assert sent["messages"] > 100
    assert process.running
    assert after - before < GROWTH_MIB


def test_ok__gateway_udp_port(lab: Lab, tmp_path: Path) -> None:
    sites = joined(lab, tmp_path)
    before = refused(sites, "gateway")
    port = sites.a.status()["port"]
    hold(sites, sites.site_a.host, "udp", f"{sites.site_a.gateway_ip}:{port}", sites.a.process)
    assert refused(sites, "gateway") - before > 10_000  # the kernel drops what comes faster than it is read
    sites.a.wait_for_path("gateway-b", "direct", 20)  # it may have gone over the relay while the port was flooded


def test_ok__stun(lab: Lab, tmp_path: Path) -> None:
    sites = joined(lab, tmp_path)
    attacker = sites.internet.server("attacker", 66)
    hold(sites, attacker, "stun", f"{CONTROL_IP}:3478", sites.control.process)
    assert refused(sites, "stun") > 1000


def test_ok__control_front(lab: Lab, tmp_path: Path) -> None:
    """Plain HTTP, hostile handshakes, and hostile requests inside a tunnel whose machine key is genuine."""
    sites = joined(lab, tmp_path)
    attacker = sites.internet.server("attacker", 66)
    for kind, part in (("http", "front"), ("ts2021", "noise"), ("noise", "noise")):
        before = refused(sites, part)
        hold(sites, attacker, kind, f"{CONTROL_IP}:8080", sites.control.process, SECONDS / 3)
        assert refused(sites, part) - before > 10
    assert len(sites.control.json("nodes", "list")) == 2
    assert sites.a.status()["control"]["connected"]


def test_ok__derp(lab: Lab, tmp_path: Path) -> None:
    sites = joined(lab, tmp_path)
    attacker = sites.internet.server("attacker", 66)
    hold(sites, attacker, "derp", f"{CONTROL_IP}:8443", sites.control.process)
    assert refused(sites, "derp") > 10
    wait_until(lambda: sites.a.status()["derp"]["connected"], 10, "the relay connection")


def test_ok__local_sockets(lab: Lab, tmp_path: Path) -> None:
    sites = joined(lab, tmp_path)
    hold(sites, sites.site_a.gateway, "localapi", str(sites.a.socket), sites.a.process, SECONDS / 2)
    hold(sites, sites.internet.core, "admin", str(sites.control.socket), sites.control.process, SECONDS / 2)
    assert sites.a.run("status").code == 0
    assert len(sites.control.json("nodes", "list")) == 2


def test_ok__status_page(lab: Lab, tmp_path: Path) -> None:
    """From a peer, through the tunnel; and the peer API beside it."""
    sites = joined(lab, tmp_path)
    own = sites.b.status()["self_node"]["addresses"][0]
    page = plugin_pid(sites.b.process, "status_page")
    hold(sites, sites.site_a.gateway, "http", f"{own}:5280", sites.b.process, SECONDS / 2, page)
    assert plugin_pid(sites.b.process, "status_page") == page, "it was not started anew"
    code = command(sites.site_a.gateway, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{own}:5280/")
    assert code.stdout == "303", "the page sends readers to its sign-in"
    wait_until(lambda: sites.b.json("metrics").get("waypost_page_malformed_total", 0) > 100, 10, "the page's counter")
