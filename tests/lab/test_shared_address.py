"""An address that two routers share, on a real LAN: hosts go to the one that took it last.

host 192.168.30.10, fd00:30::10 ── switch ──┬── router-1
                                            └── router-2
"""

from __future__ import annotations

import sys
from functools import partial

import pytest

from tests.lab.namespaces import Lab, Namespace
from tests.lab.processes import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(60)]

TAKE = """
import sys
from ipaddress import ip_address
from appliance.drivers.shared_address import announce, hold
address = ip_address(sys.argv[1])
hold(address, "eth0", 60)
announce(address, "eth0")
"""


def lan(lab: Lab) -> tuple[Namespace, Namespace, Namespace]:
    """The host and the routers."""
    switch = lab.namespace("switch")
    switch.ip("link add lan type bridge")
    switch.ip("link set lan up")
    members = lab.namespace("host"), lab.namespace("router-1"), lab.namespace("router-2")
    for number, member in zip((10, 1, 2), members, strict=True):
        lab.cable(switch, f"port{number}", member, "eth0")
        switch.ip(f"link set port{number} master lan")
        member.ip(f"addr add 192.168.30.{number}/24 dev eth0")
        member.ip(f"addr add fd00:30::{number}/64 dev eth0 nodad")
    return members


def answers(host: Namespace, address: str) -> bool:
    return ", 0% packet loss" in host.run("ping", "-c", "1", "-W", "1", address, check=False)


def known_at(host: Namespace, address: str, mac: str) -> bool:
    """Whether the host's packets for the address go to that router."""
    return f"lladdr {mac} " in host.ip(f"neigh show {address} dev eth0")


@pytest.mark.parametrize("address", ["192.168.30.254", "fd00:30::fe", "fe80::fe"])
def test_ok__hosts_follow_at_once(lab: Lab, address: str) -> None:
    host, *routers = lan(lab)
    place = f"{address}%eth0" if address.startswith("fe80") else address
    for router in routers:
        router.sysctl("net.ipv6.conf.eth0.accept_dad", 1)
        mac = router.ip("-o link show eth0").partition("link/ether ")[2].split()[0]
        router.run(sys.executable, "-c", TAKE, address)
        told = router.ip("addr show dev eth0")
        assert f" {address}/" in told
        assert "tentative" not in told, "no time for looking for a duplicate, the other router has it still"
        # The host knows the first router's hardware address, and would use it for half a minute.
        if router is routers[1]:
            wait_until(partial(known_at, host, address, mac), 5, f"the host to know {address} at the second router")
        wait_until(partial(answers, host, place), 5, f"{address} to answer")
        assert known_at(host, address, mac)
