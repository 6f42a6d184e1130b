from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from appliance.proto.siit.bindings import IDLE_S, SWEEP_S, Bindings

POOL = IPv4Network("198.18.0.0/28")


def key(number: int) -> bytes:
    return number.to_bytes(20, "big")


def test_ok__bound_once_and_found_again() -> None:
    made = Bindings(POOL)
    address = made.bind(key(1), 0.0)
    assert address is not None
    assert made.bind(key(1), 1.0) == made.find(key(1)) == address
    assert made.owner(address, 2.0) == key(1)
    assert made.find(key(2)) is made.owner(b"\0\0\0\0", 0.0) is None


def test_ok__addresses_are_hosts_of_the_pool_and_differ() -> None:
    made = Bindings(POOL)
    found = [made.bind(key(number), 0.0) for number in range(made.capacity)]
    assert len(set(found)) == made.capacity == len(made)
    hosts = set(POOL.hosts())
    assert all(each is not None and IPv4Address(each) in hosts for each in found)


def test_ok__a_restart_gives_the_same_address() -> None:
    assert Bindings(POOL).bind(key(5), 0.0) == Bindings(POOL).bind(key(5), 99.0)


def test_fail__full_until_one_was_silent_for_long() -> None:
    made = Bindings(POOL)
    for number in range(made.capacity):
        made.bind(key(number), 0.0)
    assert made.bind(key(100), IDLE_S) is None
    assert made.refused == 1
    assert made.bind(key(0), IDLE_S) is not None, "those who have one keep it"
    assert made.bind(key(100), IDLE_S + SWEEP_S + 1) is not None
    assert made.find(key(1)) is None
    assert made.find(key(0)) is not None
