"""An exit never leaks on the kernel's WireGuard either: run inside the guest (`make qemu`)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.test_exit import (
    CHATTER,
    OTHER,
    WEB_V4,
    WEB_V6,
    ExitWorld,
    check_silence,
    exit_world,
    goes_out,
    join,
    roam,
    wait_for_exit,
)
from tests.lab.topology import Site
from tests.lab.uplink_watch import UplinkWatch
from tests.qemu.guest.gateways import network, on_kernel_engine, wait_for_network

pytestmark = pytest.mark.timeout(1700)


def lasting(state: dict[str, str]) -> dict[str, str]:
    """The same without what a new start of the daemon and a network that was away change: ports and the order."""
    return {key: "\n".join(sorted(re.sub(r"\b\d{5}\b", "port", text).splitlines())) for key, text in state.items()}


def cut_off(site: Site, cut: bool) -> None:
    """Nothing passes the site's NAT box any more."""
    site.router.nft("add table inet wall; delete table inet wall")
    if cut:
        site.router.nft("table inet wall { chain c { type filter hook forward priority -10; policy drop; }; }")


@contextmanager
def watched(world: ExitWorld) -> Iterator[UplinkWatch]:
    """Programs on the gateway and on LAN A's host try to get out all the time; the watch has seen that they do."""
    site = world.sites.site_a
    chatter = [
        host.start("chatter", sys.executable, str(CHATTER), WEB_V4, WEB_V6) for host in (site.gateway, site.host)
    ]
    for process in chatter:
        process.wait_for_output("chattering")
    with UplinkWatch(site.router, "lan0", lambda packet: goes_out(packet, OTHER)) as watch:
        wait_until(lambda: watch.seen, 10, "the watch to see what it must not see later")
        yield watch
        wait_until(lambda: watch.seen, 10, "traffic to leave directly again")
    for process in chatter:
        process.stop()


def check_losses(world: ExitWorld, watch: UplinkWatch) -> None:
    """The exit's daemon, the network, the exit and the own daemon go, one after the other, and come back."""
    sites, gateway = world.sites, world.sites.site_a.gateway
    sites.b.kill()
    wait_for_exit(world, gateway, sites.site_b)  # the kernel there goes on
    check_silence(world, watch, "the exit's daemon killed")
    roam(sites.site_a)
    check_silence(world, watch, "another network")
    cut_off(sites.site_b, cut=True)
    check_silence(world, watch, "the exit gone")
    assert world.seen_from(gateway) == (None, None)
    sites.a.kill()
    check_silence(world, watch, "the own daemon killed as well")
    sites.a.start()
    wait_until(lambda: sites.a.status()["control"]["connected"], 30, "control to be reached without an exit")
    check_silence(world, watch, "the own daemon started while the exit is gone")
    cut_off(sites.site_b, cut=False)
    sites.b.start()
    wait_for_exit(world, gateway, sites.site_b)
    check_silence(world, watch, "the exit back")


def test_ok__nothing_leaves_outside_the_tunnel(lab: Lab, tmp_path: Path) -> None:
    """The lab's watch over an exit, but a killed daemon ends none: the kernel goes on forwarding."""
    world = exit_world(lab, tmp_path)
    sites, gateway = world.sites, world.sites.site_a.gateway
    untouched = network(gateway)
    join(world)
    for each in (sites.a, sites.b):
        on_kernel_engine(each)
    before = network(gateway)
    with watched(world) as watch:
        sites.a.must("exit", "use", "gateway-b", "--site")
        for host in (gateway, sites.site_a.host):
            wait_for_exit(world, host, sites.site_b)
        watch.take()
        check_silence(world, watch, "the exit in use")
        check_losses(world, watch)
        sites.a.must("exit", "off")
    wait_for_network(gateway, before, "the host to be as before the exit", lasting)
    sites.a.must("down")
    assert sites.a.process is not None
    sites.a.process.stop()
    wait_for_network(gateway, untouched, "the host to be as before the gateway", lasting)
