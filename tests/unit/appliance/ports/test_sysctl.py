"""The twins of kernel settings and of the journal."""

import pytest

from appliance.ports.sysctl import MemoryJournal, MemorySysctl, SysctlError


async def test_ok__forwarding_spreads():
    twin = MemorySysctl(
        {
            "net/ipv4/ip_forward": "0",
            "net/ipv4/conf/eth0/forwarding": "0",
            "net/ipv4/conf/all/accept_redirects": "1",
            "net/ipv6/conf/all/forwarding": "0",
            "net/ipv6/conf/eth0/forwarding": "0",
        }
    )
    await twin.write("net/ipv4/ip_forward", "1")
    await twin.write("net/ipv6/conf/all/forwarding", "1")
    assert set(twin.values.values()) == {"1", "0"}
    assert twin.values["net/ipv4/conf/all/accept_redirects"] == "0"
    assert twin.values["net/ipv6/conf/eth0/forwarding"] == "1"
    assert await twin.children("net/ipv4/conf") == ["all", "eth0"]


async def test_fail__unknown_setting():
    with pytest.raises(SysctlError):
        await MemorySysctl().write("net/nothing", "1")
    assert await MemorySysctl().read("net/nothing") is None


def test_ok__journal_keeps_json_only():
    journal = MemoryJournal()
    journal.save({"a": 1})
    assert journal.load() == {"a": 1}
    journal.save({})
    assert journal.text == ""
    assert journal.load() == {}
