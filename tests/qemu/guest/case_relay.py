"""Kernel engines whose gateways meet at a third gateway's peer relay: run inside the guest (`make qemu`)."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from tests.lab.mesh import Gateway
from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.test_peer_relay import GRANT, Relayed, relayed
from tests.lab.topology import NatKind
from tests.qemu.guest.gateways import SLOW, Download, on_kernel_engine

pytestmark = pytest.mark.timeout(1700)

MEGABYTES, RATE = 3, 15_000
ENOUGH = 200_000
"""Bytes of the download."""


def device_endpoint(gateway: Gateway, name: str) -> str:
    """Where the kernel sends what is for that peer."""
    keys = {peer["name"].partition(".")[0]: peer["node_key"] for peer in gateway.status()["peers"]}
    key = b64encode(bytes.fromhex(keys[name].removeprefix("nodekey:"))).decode()
    lines = gateway.host.run("wg", "show", "waypost0", "endpoints").splitlines()
    return next(line.split("\t")[1] for line in lines if line.startswith(key))


def wait_for_share(made: Relayed) -> float:
    """Until the relay carried a part of the download that nothing but the download is large enough for."""
    before = made.status()["forwarded_bytes"]
    return wait_until(
        lambda: made.status()["forwarded_bytes"] > before + ENOUGH, SLOW, "a part of the download by the relay"
    )


def test_ok__relayed_by_server_then_by_a_peer_under_a_download(lab: Lab, tmp_path: Path) -> None:
    """What is for a relayed peer goes to a loopback address on both sides, and by the daemons to the relay."""
    made = relayed(lab, tmp_path, NatKind.SYMMETRIC, MEGABYTES)
    sites = made.sites
    for gateway in (sites.a, sites.b, made.relay):
        on_kernel_engine(gateway)
    made.wait_for("derp")
    download = Download(sites, RATE)
    made.grant(GRANT)
    by_relay_s = wait_until(lambda: sites.a.path_to("gateway-b") == "peer-relay", SLOW, "gateway-a to use the relay")
    made.wait_for("peer-relay")
    print(f"by the peer relay {by_relay_s:.1f} s after the grant", flush=True)
    print(f"{ENOUGH} bytes by it within {wait_for_share(made):.1f} s", flush=True)
    assert download.running, "the download ended before it went by the relay"
    for gateway, peer in ((sites.a, "gateway-b"), (sites.b, "gateway-a")):
        assert device_endpoint(gateway, peer).startswith("127.64.")
    made.grant()
    made.wait_for("derp")
    assert download.running, "the download ended before the relay was taken away"
    download.finish()
