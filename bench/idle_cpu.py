"""Processor time of a gateway that carries next to nothing while many peers are active.

Active: a direct path that heartbeats keep, and one echo in 10 s each way (`bench.active_peers`, on the other core).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.control_load import cpu_s, resident_kib
from bench.report import line
from tests.lab.mesh import ControlServer, Gateway
from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.topology import Internet

COUNTS = (0, 100, 1000)
SETTLE_S = 10.0
MEASURE_S = 30.0
JOIN_S = 300.0
POLICY = {
    "acls": [
        {"action": "accept", "src": ["fleet@"], "dst": ["gateways@:*"]},
        {"action": "accept", "src": ["gateways@"], "dst": ["fleet@:*"]},
    ]
}


def direct_paths(gateway: Gateway) -> int:
    return sum(peer["path"]["kind"] == "direct" for peer in gateway.status()["peers"])


def once(directory: Path, peers: int) -> tuple[float, float]:
    """Share of a core, and PSS in KiB."""
    with Lab(directory / "logs") as lab:
        internet = Internet(lab)
        control = ControlServer(internet.server("control", 1), directory / "control")
        control.start()
        gateway = Gateway(internet.server("gateway", 10), directory / "gateway")
        gateway.start()
        gateway.up(control.pre_auth_key("gateways"), "--hostname", "gateway")
        if peers:
            _crowd(internet, control, directory, peers)
            wait_until(lambda: direct_paths(gateway) == peers, 60, f"{peers} direct paths")
        time.sleep(SETTLE_S)
        assert gateway.process is not None
        pid = gateway.process.popen.pid
        before, started = cpu_s(pid), time.monotonic()
        time.sleep(MEASURE_S)
        share = (cpu_s(pid) - before) / (time.monotonic() - started)
        if peers:
            assert direct_paths(gateway) == peers, "some were lost meanwhile"
        return share, resident_kib(pid)


def _crowd(internet: Internet, control: ControlServer, directory: Path, peers: int) -> None:
    auth_key = control.pre_auth_key("fleet", "--reusable")
    policy, key_file = directory / "policy.json", directory / "key"
    policy.write_text(json.dumps(POLICY))
    assert control.run("policy", "set", str(policy)).code == 0
    key_file.write_text(auth_key)
    host = internet.server("fleet", 20)
    words = (sys.executable, "-m", "bench.active_peers", "gateway", str(peers), "203.0.113.20", str(key_file))
    host.start("fleet", *words).wait_for_output("active", JOIN_S)


def run(directory: Path) -> Iterator[str]:
    for peers in COUNTS:
        share, memory = once(directory / str(peers), peers)
        yield line("idle_cpu", share * 100, "% of a core", active_peers=peers, pss_mib=round(memory / 1024))
