"""Whole gateways on the kernel's WireGuard, with control and DERP, and what their tests watch."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from appliance.cli.client import LocalClient
from appliance.types.errors import ApplianceError
from tests.lab.mesh import ControlServer, Gateway
from tests.lab.namespaces import SEARCH_PATH
from tests.lab.processes import wait_until
from tests.lab.router_host import snapshot
from tests.lab.sites import TwoSites
from tests.lab.test_outages import TRANSFER

MEGABYTES = 4
SLOW = 120
PATIENCE_S = 120
"""How long a download waits for its next byte."""


def ask_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are asked by their sockets from here: to start a command takes seconds in an emulated machine."""
    monkeypatch.setattr(Gateway, "status", lambda self: json.loads(LocalClient(str(self.socket)).raw("status")))
    monkeypatch.setattr(Gateway, "_ready", _answers)
    monkeypatch.setattr(ControlServer, "_ready", lambda self: self.socket.exists())


def _answers(gateway: Gateway) -> bool:
    assert gateway.process is not None
    assert gateway.process.running, gateway.process.output()[-4000:]
    try:
        return bool(gateway.status())
    except ApplianceError:
        return False


def wait_for_page(sites: TwoSites, timeout_s: float = SLOW) -> float:
    return wait_until(sites.page_comes, timeout_s, "the web page of LAN B on LAN A")


class Download:
    """The large file of LAN B, fetched by LAN A for as long as the rate makes it."""

    def __init__(self, sites: TwoSites, bytes_per_s: int) -> None:
        command = [sys.executable, "-c", TRANSFER, f"{sites.url}/large.bin", str(bytes_per_s), str(PATIENCE_S)]
        self._wanted = sites.large_hash
        self._process = subprocess.Popen(
            [*sites.site_a.host.enter, *command], stdout=subprocess.PIPE, text=True, env={"PATH": SEARCH_PATH}
        )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def finish(self) -> None:
        output, _ = self._process.communicate(timeout=900)
        assert output.split()[-2:] == ["done", self._wanted], "the file came broken"


def network(sites: TwoSites) -> dict[str, str]:
    """What a gateway changes on its host, with its devices."""
    state = snapshot(sites.site_a.gateway)
    state["sysctl"] = "\n".join(line for line in state["sysctl"].splitlines() if re.search("forward|rp_filter", line))
    return state | {"links": sites.site_a.gateway.ip("-o link")}


def joined(sites: TwoSites) -> None:
    """Both gateways are on the kernel's WireGuard, with a direct path."""
    sites.join()
    on_kernel_engine(sites.a)
    wait_for_page(sites)
    wait_for_direct(sites)


def on_kernel_engine(gateway: Gateway) -> None:
    status = gateway.status()
    assert (status["engine"], status["engine_reason"]) == ("kernel", "the kernel has WireGuard")


def wait_for_direct(sites: TwoSites) -> None:
    """Under traffic: an idle path is not looked for."""
    wait_until(lambda: sites.page_comes() and sites.a.path_to("gateway-b") == "direct", SLOW, "a direct path")
