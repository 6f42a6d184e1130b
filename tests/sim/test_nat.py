"""The NAT and firewall models do what RFC 4787 calls by these names."""

from itertools import pairwise

import pytest

from appliance.types.addresses import AddrPort
from tests.sim.nat import Allocation, Filtering, Firewall, Mapping, Nat
from tests.sim.network import Host, Quality, Realm
from tests.sim.world import World

SERVER, OTHER = "203.0.113.7", "203.0.113.8"


class Bench:
    """One host behind a NAT, two servers outside."""

    def __init__(self, **nat):
        self.world = World("nat")
        self.lan, self.net = (Realm(self.world, Quality(0.0)) for _ in range(2))
        self.nat = Nat(self.world, self.lan, self.net, "198.51.100.1", **nat)
        self.inside = Host(self.world, self.lan, "192.168.1.10", 5000)
        self.heard = []
        self.inside.receive = lambda source, data: self.heard.append((source, data))
        self.seen = []
        for ip in (SERVER, OTHER):
            self.net.attach(ip, lambda source, to, data: self.seen.append((source, to)))

    def out(self, ip=SERVER, port=1, source=0):
        """The external port of one packet, None when none came through."""
        self.seen.clear()
        self.inside.send(AddrPort(ip, port), b"x", source)
        self.world.run(0)
        return self.seen[0][0].port if self.seen else None

    def back(self, source, port):
        """Whether a packet from there reaches the host."""
        self.heard.clear()
        self.net.send(source, AddrPort("198.51.100.1", port), b"y")
        self.world.run(0)
        return bool(self.heard)


@pytest.mark.parametrize(
    ("mapping", "by_port", "by_address"),
    [
        (Mapping.ENDPOINT_INDEPENDENT, False, False),
        (Mapping.ADDRESS_DEPENDENT, False, True),
        (Mapping.ADDRESS_AND_PORT_DEPENDENT, True, True),
    ],
)
def test_ok__mapping(mapping, by_port, by_address):
    bench = Bench(mapping=mapping)
    first = bench.out()
    assert bench.out() == first
    assert (bench.out(port=2) != first) is by_port
    assert (bench.out(ip=OTHER) != first) is by_address


@pytest.mark.parametrize("filtering", Filtering)
def test_ok__filtering(filtering):
    bench = Bench(filtering=filtering)
    port = bench.out()
    assert bench.back(AddrPort(SERVER, 1), port)
    assert bench.back(AddrPort(SERVER, 2), port) is (filtering < Filtering.ADDRESS_AND_PORT_DEPENDENT)
    assert bench.back(AddrPort(OTHER, 1), port) is (filtering is Filtering.ENDPOINT_INDEPENDENT)


def test_ok__port_allocation():
    assert Bench(allocation=Allocation.PRESERVING).out() == 5000
    bench = Bench(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.SEQUENTIAL, step=2)
    ports = [bench.out(port=port) for port in range(1, 9)]
    assert {(b - a) % 64512 for a, b in pairwise(ports)} == {2}
    bench = Bench(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.RANDOM, pool=(49152, 16384))
    ports = [bench.out(port=port) for port in range(1, 50)]
    assert len(set(ports)) == 49
    assert all(49152 <= port < 65536 for port in ports)


def test_ok__others_move_a_sequential_counter():
    bench = Bench(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.SEQUENTIAL, background=10.0)
    first = bench.out(port=1)
    bench.world.run(5)
    assert 50 <= (bench.out(port=2) - first) % 64512 <= 52


def test_ok__binding_and_filter_die_of_silence():
    bench = Bench(timeout=30, allocation=Allocation.RANDOM)
    port = bench.out()
    bench.world.run(29)
    assert bench.back(AddrPort(SERVER, 1), port)
    bench.out(ip=OTHER)  # keeps the binding, not what was sent to the first server
    bench.world.run(2)
    assert not bench.back(AddrPort(SERVER, 1), port)
    assert bench.back(AddrPort(OTHER, 1), port)
    bench.world.run(31)
    assert bench.out() != port


def test_ok__full_table_refuses_until_something_dies():
    bench = Bench(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, cap=3, timeout=30)
    assert all(bench.out(port=port) for port in (1, 2, 3))
    assert bench.out(port=4) is None
    assert bench.nat.refused == 1
    assert bench.out(port=1)
    bench.world.run(31)
    assert bench.out(port=4)


@pytest.mark.parametrize("hairpin", [True, False])
def test_ok__hairpin(hairpin):
    bench = Bench(hairpin=hairpin, filtering=Filtering.ENDPOINT_INDEPENDENT)
    neighbour = Host(bench.world, bench.lan, "192.168.1.11", 6000)
    neighbour.send(AddrPort("198.51.100.1", bench.out()), b"z")
    bench.world.run(0)
    assert bench.heard == ([(AddrPort("198.51.100.1", 6000), b"z")] if hairpin else [])


def test_ok__forwarded_port_is_open_and_survives_a_reboot():
    bench = Bench(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT)
    bench.nat.forward(7777, bench.inside.local)
    bench.nat.reboot()
    assert bench.back(AddrPort(OTHER, 9), 7777)
    assert bench.out() == 7777


def test_ok__reboot_and_blocking():
    bench = Bench()
    port = bench.out()
    bench.nat.reboot()
    assert not bench.back(AddrPort(SERVER, 1), port)
    bench.nat.blocks_udp = True
    assert bench.out() is None


def test_ok__extra_ports_of_a_host():
    bench = Bench()
    heard = []
    first = bench.inside.open(lambda source, data: heard.append(data))
    assert bench.inside.open(lambda source, data: None) == first + 1
    assert bench.out(source=first) == first
    bench.net.send(AddrPort(SERVER, 1), AddrPort("198.51.100.1", first), b"to the extra port")
    bench.world.run(0)
    assert heard == [b"to the extra port"]
    bench.inside.close(first)
    bench.net.send(AddrPort(SERVER, 1), AddrPort("198.51.100.1", first), b"again")
    bench.world.run(0)
    assert len(heard) == 1


def test_ok__firewall_lets_answers_in_until_it_forgets():
    world = World("firewall")
    lan, net = Realm(world, Quality(0.0)), Realm(world, Quality(0.0))
    firewall = Firewall(world, lan, net)
    host = Host(world, lan, "192.0.2.1", 5000, "2001:db8:1::1")
    heard = []
    host.receive = lambda source, data: heard.append(source)
    for ip, remote in (("192.0.2.1", SERVER), ("2001:db8:1::1", "2001:db8:2::1")):
        firewall.guard(ip)
        net.attach(remote, lambda *_: None)
        net.send(AddrPort(remote, 1), AddrPort(ip, 5000), b"unasked")
        world.run(0)
        assert heard == []
        host.send(AddrPort(remote, 1), b"x")
        net.send(AddrPort(remote, 1), AddrPort(ip, 5000), b"answer")
        world.run(0)
        assert heard.pop() == AddrPort(remote, 1)
        firewall.reboot()
        net.send(AddrPort(remote, 1), AddrPort(ip, 5000), b"late")
        world.run(0)
        assert heard == []


def test_ok__packets_to_a_host_that_left_do_not_circle():
    world = World("firewall")
    lan, net = Realm(world, Quality(0.001)), Realm(world, Quality(0.001))
    firewall = Firewall(world, lan, net, filtering=Filtering.ENDPOINT_INDEPENDENT)
    host = Host(world, lan, "192.0.2.1", 5000)
    firewall.guard("192.0.2.1")
    host.move(Realm(world, Quality(0.001)), "192.168.9.9")
    net.send(AddrPort(SERVER, 1), AddrPort("192.0.2.1", 5000), b"late")
    world.run(1)
    assert not world._queue


def test_ok__leases_end_with_their_time_and_with_the_state():
    bench = Bench(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT)
    assert bench.nat.lease(7777, bench.inside.local, 60.0) == 7777
    assert bench.nat.lease(7778, bench.inside.local, 60.0) == 7777, "one for each inside port"
    assert bench.back(AddrPort(OTHER, 9), 7777)
    assert bench.out() == 7777
    bench.world.run(61)
    assert not bench.back(AddrPort(OTHER, 9), 7777)
    assert bench.nat.lease(7777, bench.inside.local, 60.0) == 7777
    bench.nat.reboot()
    assert not bench.back(AddrPort(OTHER, 9), 7777)
