"""Hundreds of peers come from control into the kernel's device: run inside the guest (`make qemu`)."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from tests.lab.control_node import ControlNode, server_key
from tests.lab.mesh import CONTROL_PORT
from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.router_host import inside
from tests.lab.sites import TwoSites, two_sites
from tests.lab.topology import CONTROL_IP
from tests.qemu.guest.gateways import SLOW, joined, wait_for_direct, wait_for_page

pytestmark = pytest.mark.timeout(1700)

PEERS, BATCH = 200, 25
ANSWER_S = 30.0
"""Of the local API, on an emulated processor that takes in peers meanwhile."""


async def enrol(key: str, numbers: range) -> None:
    """Nodes that say what others say at their start, and leave; without a disco key none is reached."""
    server = await server_key(CONTROL_IP, CONTROL_PORT)
    for number in numbers:
        node = ControlNode(CONTROL_IP, CONTROL_PORT, server, f"n{number}")
        await node.connect()
        await node.register(key)
        place = f"198.51.100.{number + 1}:41641"
        await node.update(endpoints=[place], endpoint_types=[1], disco_key=f"discokey:{os.urandom(32).hex()}")
        node.close()


def answer_s(sites: TwoSites) -> float:
    """Seconds that the daemon needs to say how it is."""
    started = time.monotonic()
    assert sites.a.status()["state"] == "running"
    return time.monotonic() - started


def in_device(sites: TwoSites) -> set[str]:
    """IPv4 addresses of all peers, by the kernel."""
    lines = sites.a.host.run("wg", "show", "waypost0", "allowed-ips").splitlines()
    return {word.removesuffix("/32") for line in lines for word in line.split()[1:] if word.endswith("/32")}


def in_status(sites: TwoSites) -> dict[str, str]:
    """The same by the daemon, by their names."""
    return {
        peer["name"].partition(".")[0]: address
        for peer in sites.a.status()["peers"]
        for address in peer["addresses"]
        if "." in address
    }


def enrol_all(sites: TwoSites) -> None:
    """Some at a time, while the daemon answers and the tunnel carries."""
    key = sites.control.pre_auth_key("demo", "--reusable")
    started = time.monotonic()
    for first in range(0, PEERS, BATCH):
        with inside(sites.control.host):
            asyncio.run(enrol(key, range(first, first + BATCH)))
        taken, page = answer_s(sites), wait_for_page(sites)
        print(f"{first + BATCH} further peers: status within {taken:.2f} s, page within {page:.2f} s", flush=True)
        assert taken < ANSWER_S
    wait_until(lambda: len(in_device(sites)) == PEERS + 1, SLOW, f"{PEERS} further peers in the device")
    print(f"{PEERS} peers within {time.monotonic() - started:.0f} s", flush=True)


def test_ok__two_hundred_peers_from_control(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path)
    joined(sites)
    enrol_all(sites)
    known = in_status(sites)
    assert set(known.values()) == in_device(sites)
    wait_for_direct(sites)
    assert sites.control.run("nodes", "delete", "n0", "--yes").code == 0
    wait_until(lambda: known["n0"] not in in_device(sites), SLOW, "the deleted peer to leave the device")
    assert in_device(sites) == set(known.values()) - {known["n0"]}
    wait_for_page(sites)
