"""The list of settings is the router's: everything that it writes, and nothing else."""

import pytest

from appliance.helper.settings import may_set
from appliance.ports.sysctl import MemoryJournal, MemorySysctl
from appliance.router.forwarding import DEVICE_KEY, SysctlKeeper, Wish


async def test_ok__everything_that_the_router_writes_and_gives_back():
    names = ("all", "default", "lo", "eth0", "eth0.5", "br-lan_1", "waypost0")
    values = {"net/ipv4/ip_forward": "0", "net/ipv4/conf/all/accept_redirects": "1"}
    values |= {f"net/ipv{version}/conf/{name}/forwarding": "0" for version in (4, 6) for name in names}
    values |= {f"net/ipv6/conf/{name}/accept_ra": "1" for name in names}
    values |= {f"net/ipv4/conf/{name}/src_valid_mark": "0" for name in names}
    values |= {"net/ipv4/conf/eth0/rp_filter": "1", DEVICE_KEY: "1"}
    before = dict(values)
    sysctl = MemorySysctl(values)
    keeper = SysctlKeeper(sysctl, MemoryJournal())
    wishes = [
        Wish("net/ipv6/conf/eth0.5/accept_ra", "2", frozenset({"2"})),
        Wish("net/ipv4/ip_forward", "1", frozenset({"1", "2"})),
        Wish("net/ipv6/conf/all/forwarding", "1", frozenset({"1", "2"})),
        Wish("net/ipv4/conf/eth0/src_valid_mark", "1", frozenset({"1"})),
        Wish("net/ipv4/conf/eth0/rp_filter", "2", frozenset({"0", "2"})),
    ]
    assert await keeper.ensure(wishes) == []
    sysctl.values[DEVICE_KEY] = "0"  # as the kernel does when the device goes up
    await keeper.note_device("1")
    sysctl.values["net/ipv4/conf/br-lan_1/forwarding"] = "0"  # so that giving back has one to skip
    await keeper.restore()
    assert sysctl.values == before
    assert len(sysctl.written) > len(wishes)
    assert [pair for pair in sysctl.written if not may_set(*pair)] == []
    assert may_set("net/ipv6/conf/waypost0/addr_gen_mode", "1")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kernel/core_pattern", "1"),
        ("net/core/bpf_jit_enable", "0"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/eth0/accept_redirects", "1"),
        ("net/ipv4/ip_forward", "3"),
        ("net/ipv4/ip_forward", "1\n"),
        ("net/ipv4/ip_forward\n", "1"),
        ("net/ipv4/ip_forward/", "1"),
        ("/net/ipv4/ip_forward", "1"),
        ("net/ipv4/conf/../forwarding", "1"),
        ("net/ipv4/conf/./forwarding", "1"),
        ("net/ipv4/conf/a/b/forwarding", "1"),
        ("net/ipv4/conf//forwarding", "1"),
        ("net/ipv4/conf/seventeen-letters/forwarding", "1"),
        ("net/ipv4/conf/../../ipv4/conf/eth0/forwarding", "1"),
        ("net/ipv6/conf/eth0/addr_gen_mode", "0"),
    ],
)
def test_fail__anything_else(key, value):
    assert not may_set(key, value)
