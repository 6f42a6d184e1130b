"""One TCP stream into a program: by a socket of a rootless node, against one of a gateway on the host, interleaved.

sender (gateway) ---- internet ---- reader on a gateway with root
                              \\---- reader on `waypostd --rootless`     same program, same path, MTU 1280
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from bench.report import line, middle
from tests.lab.mesh import ControlServer, Gateway, command
from tests.lab.namespaces import Lab, LabError
from tests.lab.topology import Internet

RUNS = 5
SECONDS = 3
PORT = 5201


def run(directory: Path) -> Iterator[str]:
    with Lab(directory / "logs") as lab:
        internet = Internet(lab)
        control = ControlServer(internet.server("control", 1), directory / "control")
        control.start()
        places = (("sender", ()), ("host", ()), ("rootless", ("--rootless",)))
        nodes = {
            name: Gateway(internet.server(name, 10 + number), directory / name, options)
            for number, (name, options) in enumerate(places)
        }
        for name, node in nodes.items():
            node.start()
            node.up(control.pre_auth_key(), "--hostname", name)
        address = nodes["sender"].must("ip", "-4").strip()
        words = (sys.executable, "-m", "bench.mesh_sender", address, str(PORT))
        nodes["sender"].host.start("sender", *words).wait_for_output("listening")
        rates: dict[str, list[float]] = {"host": [], "rootless": []}
        for name in rates:
            nodes[name].must("ping", "sender", "-c", "20")
            nodes[name].wait_for_path("sender", "direct")
        for _ in range(RUNS):
            for name, found in rates.items():
                found.append(_rate(nodes[name]))
        yield line(
            "proxy_tcp",
            middle(rates["rootless"]),
            "Gbit/s",
            variant="rootless-mtu1280",
            peer="gateway with root",
            peer_value=middle(rates["host"]),
            runs=RUNS,
            ratios=sorted(round(one / two, 2) for one, two in zip(rates["rootless"], rates["host"], strict=True)),
        )


def _rate(node: Gateway) -> float:
    """Gbit/s."""
    words = (sys.executable, "-m", "bench.mesh_reader", str(node.socket), "sender", str(PORT), str(SECONDS))
    result = command(node.host, *words)
    if result.code:
        raise LabError(f"the reader failed: {result.stderr[-500:]}")
    return float(result.stdout) / 1e9
