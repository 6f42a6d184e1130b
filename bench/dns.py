"""Questions per second and p99 of the wait at the gateway's resolver, cached and forwarded, against dnsmasq.

    load ── resolver under test (magicdns, or dnsmasq) ── dnsmasq that knows every name

Everything is on loopback and shares the machine's cores; 64 questions are on their way at one time. Both resolvers are
measured in turn; forwarded questions are for names that nobody asked before.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.report import line, middle
from tests.lab.dnsmasq import alone
from tests.lab.namespaces import SEARCH_PATH, LabError
from tests.lab.processes import wait_until

RUNS = 5
SECONDS = 2.0
NAMES = 1000
LIMITS = ("--cache-size=10000", "--dns-forward-max=1000")


@contextmanager
def program(*command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def dnsmasq(port: int, *options: str) -> tuple[str, ...]:
    found = shutil.which("dnsmasq", path=SEARCH_PATH)
    if found is None:
        raise LabError("dnsmasq is missing: install the Debian package dnsmasq-base")
    where = ("--listen-address=127.0.0.1", "--bind-interfaces", f"--port={port}")
    return (found, *alone(), "--no-resolv", "--no-hosts", *where, *options)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.5)
        probe.connect(("127.0.0.1", port))
        try:
            probe.send(b"\0\1\1\0\0\1\0\0\0\0\0\0\5ready\5bench\7example\0\0\1\0\1")
            return bool(probe.recv(512))
        except OSError:
            return False


def measured(port: int, names: int, prefix: str) -> dict[str, float]:
    command = (sys.executable, "-m", "bench.dns_load", str(port), str(SECONDS), str(names), prefix)
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise LabError(f"the load broke off: {result.stderr.strip()[-300:]}")
    found: dict[str, float] = json.loads(result.stdout)
    return found


def run(_directory: Path) -> Iterator[str]:
    upstream, ours, theirs = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        stack.enter_context(program(*dnsmasq(upstream, "--address=/#/192.0.2.1", "--local-ttl=3600")))
        stack.enter_context(program(sys.executable, "-m", "bench.dns_resolver", str(ours), str(upstream)))
        stack.enter_context(program(*dnsmasq(theirs, f"--server=127.0.0.1#{upstream}", *LIMITS)))
        for port in (upstream, ours, theirs):
            wait_until(lambda port=port: answers(port), 20, "a resolver to answer")
        for variant, names in (("cached", NAMES), ("forwarded", 0)):
            for port in (ours, theirs):
                measured(port, NAMES, "warm" if names else f"first{port}x")
            figures: dict[int, list[dict[str, float]]] = {ours: [], theirs: []}
            for number in range(RUNS):
                for port in (ours, theirs):
                    prefix = "warm" if names else f"r{number}p{port}n"
                    figures[port].append(measured(port, names, prefix))
            for key, unit in (("per_s", "1/s"), ("p99_ms", "ms")):
                mine, peers = (middle([each[key] for each in figures[port]]) for port in (ours, theirs))
                name = f"{variant}, {'questions' if key == 'per_s' else 'p99 of the wait'}"
                yield line("dns", mine, unit, variant=name, peer="dnsmasq", peer_value=peers, runs=RUNS)
