from ipaddress import ip_address, ip_network

from appliance.engine.userspace.allowed_ips import AllowedIPs


def packed(text: str) -> bytes:
    return ip_address(text).packed


def table(**owners: list[str]) -> AllowedIPs[str]:
    made: AllowedIPs[str] = AllowedIPs()
    for owner, prefixes in owners.items():
        made.assign(owner, map(ip_network, prefixes))
    return made


def test_ok__longest_prefix_wins_in_both_families() -> None:
    found = table(
        default=["0.0.0.0/0", "::/0"],
        site=["10.0.0.0/8", "fd00::/8"],
        lan=["10.1.2.0/24", "fd00:1::/64"],
        host=["10.1.2.3/32", "fd00:1::3/128"],
    )
    wanted = {
        "8.8.8.8": "default",
        "10.9.9.9": "site",
        "10.1.2.9": "lan",
        "10.1.2.3": "host",
        "2001:db8::1": "default",
        "fd01::1": "site",
        "fd00:1::9": "lan",
        "fd00:1::3": "host",
    }
    assert {address: found.lookup(packed(address)) for address in wanted} == wanted


def test_fail__no_owner() -> None:
    found = table(a=["10.0.0.0/8"])
    assert found.lookup(packed("11.0.0.0")) is None
    assert found.lookup(packed("::1")) is None


def test_ok__a_prefix_moves() -> None:
    found = table(a=["10.0.0.0/8", "10.1.0.0/16"])
    assert found.lookup(packed("10.1.0.1")) == "a"
    found.assign("b", [ip_network("10.1.0.0/16")])
    assert found.lookup(packed("10.1.0.1")) == "b"
    assert found.prefixes("a") == {ip_network("10.0.0.0/8")}


def test_ok__assign_is_the_complete_list_and_remove_ends_it() -> None:
    found = table(a=["10.0.0.0/8", "192.168.0.0/16"])
    found.assign("a", [ip_network("192.168.0.0/16")])
    assert found.lookup(packed("10.0.0.1")) is None
    found.remove("a")
    found.remove("a")
    assert found.lookup(packed("192.168.0.1")) is None
    assert found.prefixes("a") == frozenset()
