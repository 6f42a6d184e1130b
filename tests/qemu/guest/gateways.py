"""Whole gateways on the kernel's WireGuard, with control and DERP, and what their tests watch."""

from __future__ import annotations

import difflib
import json
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from appliance.cli.client import LocalClient
from appliance.types.errors import ApplianceError
from tests.lab.mesh import ControlServer, Gateway
from tests.lab.namespaces import SEARCH_PATH, Namespace
from tests.lab.processes import TimeoutExceeded, wait_until
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


def network(host: Namespace) -> dict[str, str]:
    """What a gateway changes on its host, with its devices."""
    state = snapshot(host)
    settings = (line for line in state["sysctl"].splitlines() if re.match(r"net\.ipv[46]\.(ip_forward|conf\.)", line))
    links = re.sub(r"^\d+: ", "", host.ip("-o link"), flags=re.MULTILINE)
    return state | {"sysctl": "\n".join(settings), "links": links}


def without_device(state: dict[str, str]) -> dict[str, str]:
    """The same without the device and the rules at its port, which stay as long as `waypostd` runs."""
    kept = {key: "\n".join(line for line in text.splitlines() if "waypost0" not in line) for key, text in state.items()}
    return kept | {"nft": re.sub(r"table inet waypost_port \{\n(\t.*\n|\n)*\}\n", "", state["nft"])}


def wait_for_network(
    host: Namespace,
    before: dict[str, str],
    what: str,
    part: Callable[[dict[str, str]], dict[str, str]] = lambda state: state,
) -> None:
    """Until the host is as it was then, `part` of it; fails with the difference."""
    seen: dict[str, str] = {}

    def same() -> bool:
        seen.update(network(host))
        return part(seen) == part(before)

    try:
        wait_until(same, 20, what)
    except TimeoutExceeded as error:
        was, now = ("\n".join(part(state).values()).splitlines() for state in (before, seen))
        differences = difflib.unified_diff(was, now, "before", "now", n=1, lineterm="")
        raise AssertionError("\n".join([str(error), *differences])) from None


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
