"""One TCP stream through two userspace engines, against two wireguard-go, interleaved, on the same machine.

a (engine) ---- veth ---- (engine) b      iperf3 from a to b through the tunnel, MTU 1280 and 1420

The engine runs in both forms of its packet step. `per_core` is Gbit per second of processor time of the busier engine.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from appliance.crypto.x25519 import clamp, x25519_public
from bench.report import line, middle
from tests.lab.mesh import command
from tests.lab.namespaces import SEARCH_PATH, Lab, LabError, Namespace
from tests.lab.processes import wait_until

RUNS = 5
SECONDS = 4
PORT = 41641
ROOT = Path(__file__).parents[1]


class Result(NamedTuple):
    """`rate` in the load's unit; processor seconds of the busier engine."""

    rate: float
    processor_s: float


def iperf(sender: Namespace, receiver: Namespace) -> float:
    server = receiver.start("iperf3", "iperf3", "--server", "--one-off", "--bind", "10.77.0.2", "--forceflush")
    server.wait_for_output("listening")
    result = command(sender, "iperf3", "--client", "10.77.0.2", "--time", str(SECONDS), "--omit", "1", "--json")
    server.stop()
    server.log.unlink()
    if result.code:
        raise LabError(f"iperf3: {result.stdout[-300:]}")
    return float(result.json()["end"]["sum_received"]["bits_per_second"]) / 1e9


Load = Callable[[Namespace, Namespace], float]


class Link:
    """Two hosts on a cable; each run brings up one kind of engine on both."""

    def __init__(self, lab: Lab) -> None:
        self.hosts = (lab.namespace("a"), lab.namespace("b"))
        lab.cable(self.hosts[0], "eth0", self.hosts[1], "eth0")
        for number, host in enumerate(self.hosts, 1):
            host.ip(f"addr add 192.0.2.{number}/24 dev eth0")
        self.private = [clamp(os.urandom(32)) for _ in self.hosts]
        self.public = [x25519_public(key) for key in self.private]

    def _address(self, number: int, device: str, mtu: int) -> None:
        host = self.hosts[number]
        host.ip(f"addr add 10.77.0.{number + 1}/24 dev {device}")
        host.ip(f"link set {device} mtu {mtu} up")

    def ours(self, mtu: int, form: str) -> list[subprocess.Popen[str]]:
        engines = []
        for number, host in enumerate(self.hosts):
            other = 1 - number
            config = {
                "private": self.private[number].hex(),
                "interface": "tunnel0",
                "mtu": mtu,
                "port": PORT,
                "native": "on" if form == "native" else "off",
                "peers": [
                    {
                        "public": self.public[other].hex(),
                        "allowed": [f"10.77.0.{other + 1}/32"],
                        "endpoint": f"192.0.2.{other + 1}:{PORT}",
                    }
                ],
            }
            engine = subprocess.Popen(
                [*host.enter, sys.executable, str(ROOT / "tests/lab/wireguard_node.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": SEARCH_PATH},
            )
            assert engine.stdin is not None
            assert engine.stdout is not None
            engine.stdin.write(json.dumps(config) + "\n")
            engine.stdin.flush()
            engine.stdout.readline()
            engines.append(engine)
            self._address(number, "tunnel0", mtu)
        return engines

    def wireguard_go(self, mtu: int) -> list[subprocess.Popen[str]]:
        engines = []
        for number, host in enumerate(self.hosts):
            other = 1 - number
            device = f"wpbench{number}"  # the control sockets of both lie in one folder
            engines.append(
                subprocess.Popen(
                    [*host.enter, "wireguard-go", "-f", device],
                    env={**os.environ, "WG_PROCESS_FOREGROUND": "1", "PATH": SEARCH_PATH},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            )
            wait_until(
                lambda host=host, device=device: command(host, "wg", "show", device).code == 0, 10, "wireguard-go"
            )
            host.run(
                "wg",
                "setconf",
                device,
                "/dev/stdin",
                stdin=f"[Interface]\nPrivateKey = {b64encode(self.private[number]).decode()}\nListenPort = {PORT}\n"
                f"[Peer]\nPublicKey = {b64encode(self.public[other]).decode()}\n"
                f"AllowedIPs = 10.77.0.{other + 1}/32\nEndpoint = 192.0.2.{other + 1}:{PORT}\n",
            )
            self._address(number, device, mtu)
        return engines

    def measure(self, engines: list[subprocess.Popen[str]], load: Load = iperf) -> Result:
        """What the receiver got, and what it cost."""
        sender, receiver = self.hosts
        try:
            wait_until(
                lambda: command(sender, "ping", "-c1", "-W1", "10.77.0.2").code == 0, 15, "the tunnel to come up"
            )
            before = [processor_s(engine.pid) for engine in engines]
            rate = load(sender, receiver)
            spent = max(processor_s(engine.pid) - start for engine, start in zip(engines, before, strict=True))
            return Result(rate, spent)
        finally:
            for engine in engines:
                engine.terminate()
                engine.wait(10)


def processor_s(pid: int) -> float:
    """Processor time of a process and, since a namespace is entered through another program, of its children."""
    found = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat.parent.name) == pid or int(fields[1]) == pid:
            found += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def run(directory: Path) -> Iterator[str]:
    with Lab(directory / "logs") as lab:
        link = Link(lab)
        for mtu in (1280, 1420):
            found: dict[str, list[Result]] = {"native": [], "pure": [], "wireguard-go": []}
            for _ in range(RUNS):
                for form in ("native", "pure"):
                    found[form].append(link.measure(link.ours(mtu, form)))
                found["wireguard-go"].append(link.measure(link.wireguard_go(mtu)))
            for form in ("native", "pure"):
                yield compared("userspace_tcp", "Gbit/s", f"{form}-mtu{mtu}", found[form], found["wireguard-go"])


def compared(name: str, unit: str, variant: str, ours: list[Result], peer: list[Result]) -> str:
    """One line; the ratio of each run stands beside the medians."""
    return line(
        name,
        middle([each.rate for each in ours]),
        unit,
        variant=variant,
        peer="wireguard-go",
        peer_value=middle([each.rate for each in peer]),
        runs=len(ours),
        ratios=sorted(round(one.rate / two.rate, 2) for one, two in zip(ours, peer, strict=True)),
        per_core=_per_core(ours),
        peer_per_core=_per_core(peer),
        processor_s_per_unit=round(1 / _per_core(ours), 4),
        peer_processor_s_per_unit=round(1 / _per_core(peer), 4),
    )


def _per_core(results: list[Result]) -> float:
    """The load's unit for each processor second that the busier engine spent a second."""
    return round(statistics.median(each.rate * (SECONDS + 1) / max(each.processor_s, 0.01) for each in results), 2)
