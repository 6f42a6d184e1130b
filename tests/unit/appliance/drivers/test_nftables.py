"""Errors of nft become one clear line; a stand-in program plays nft."""

import pytest

from appliance.drivers.nftables import NftFirewall
from appliance.ports.firewall import FirewallError
from appliance.types.errors import PrivilegeError


def program(tmp_path, script):
    path = tmp_path / "nft"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return NftFirewall(str(path))


async def test_fail__reason_and_line(tmp_path):
    script = (
        "cat >/dev/null; echo '/dev/stdin:2:1-9: Error: Could not process rule: Operation not permitted' >&2; exit 1"
    )
    with pytest.raises(FirewallError) as caught:
        await program(tmp_path, script).apply("add table inet t\nadd chain inet t c\n")
    assert caught.value.text == (
        "nft refused the rules: Could not process rule: Operation not permitted in: add chain inet t c"
    )
    assert "CAP_NET_ADMIN" in caught.value.mend


async def test_fail__unknown_form(tmp_path):
    with pytest.raises(FirewallError, match="nft refused the rules: oops"):
        await program(tmp_path, "echo oops >&2; exit 1").ruleset()


async def test_fail__missing_program():
    with pytest.raises(PrivilegeError) as caught:
        await NftFirewall("/nonexistent/nft").apply("")
    assert "nftables" in caught.value.mend


async def test_ok__listing_without_metainfo(tmp_path):
    reply = '{"nftables": [{"metainfo": {}}, {"table": {"family": "ip", "name": "t", "handle": 1}}]}'
    firewall = program(tmp_path, f"echo '{reply}'")
    assert await firewall.ruleset() == [{"table": {"family": "ip", "name": "t", "handle": 1}}]
    assert await firewall.table("inet", "t") == []
