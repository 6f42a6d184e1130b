import pytest

from appliance.magicsock.hard_nat.classification import Observation, classify
from appliance.ports.randomness import SeededRandomness
from appliance.proto.disco import NatMapping, PortRule
from appliance.types.addresses import AddrPort

SERVERS = (AddrPort("203.0.113.1", 3478), AddrPort("203.0.113.1", 3479), AddrPort("203.0.113.2", 3478))


def observe(port_of, servers=SERVERS, sockets=8, gap_s=0.0):
    """`port_of(order, local port, server)` gives the external port."""
    made = []
    for socket in range(sockets):
        for server in servers:
            order, local = len(made), 50000 + socket
            mapped = AddrPort("198.51.100.1", port_of(order, local, server))
            made.append(Observation(order, local, server, mapped, 1.0 + gap_s * order))
    return made


def test_ok__easy_nat_that_keeps_ports():
    found = classify(observe(lambda order, local, server: local))
    assert (found.mapping, found.rule) == (NatMapping.ENDPOINT_INDEPENDENT, PortRule.PRESERVING)
    assert found.address == "198.51.100.1"


def test_ok__easy_nat_with_other_ports():
    chance = SeededRandomness(1)
    ports = {50000 + i: 1024 + chance.below(64512) for i in range(8)}
    found = classify(observe(lambda order, local, server: ports[local]))
    assert (found.mapping, found.rule) == (NatMapping.ENDPOINT_INDEPENDENT, PortRule.RANDOM)


def test_ok__hard_nat_with_random_ports_and_its_pool():
    chance = SeededRandomness(2)
    found = classify(observe(lambda *_: 49152 + chance.below(16384)))
    assert (found.mapping, found.rule) == (NatMapping.ADDRESS_AND_PORT_DEPENDENT, PortRule.RANDOM)
    assert (found.low, found.high) == (49152, 65535)


def test_ok__address_dependent_mapping():
    chance = SeededRandomness(3)
    ports = {}
    found = classify(observe(lambda order, local, s: ports.setdefault((local, s.ip), 1024 + chance.below(64512))))
    assert found.mapping is NatMapping.ADDRESS_DEPENDENT


@pytest.mark.parametrize("step", [1, 2, -1])
def test_ok__counting_nat(step):
    found = classify(observe(lambda order, *_: 30000 + step * order))
    assert (found.rule, found.step, found.rate) == (PortRule.SEQUENTIAL, step, 0.0)
    assert found.last == 30000 + step * 23


def test_ok__counting_nat_with_others_behind_it():
    found = classify(observe(lambda order, *_: 30000 + 3 * order, gap_s=0.1))
    assert found.rule is PortRule.SEQUENTIAL
    assert found.step == 3, "a steady gap looks like a step"
    jumps = iter([0, 1, 3, 4, 5, 8, 9, 10, 12, 13, 14, 15, 16, 19, 20, 21, 22, 24, 25, 26, 27, 28, 30, 31])
    found = classify(observe(lambda order, *_: 30000 + next(jumps), gap_s=0.1))
    assert found.step == 1
    assert 3 < found.rate < 4


def test_ok__block_of_a_carrier():
    chance = SeededRandomness(4)
    found = classify(observe(lambda *_: 20000 + chance.below(1024)))
    assert found.rule is PortRule.BLOCK
    assert 20000 <= found.low < found.high < 21024


def test_ok__one_server_leaves_the_mapping_open():
    found = classify(observe(lambda order, local, s: local, SERVERS[:1]))
    assert (found.mapping, found.rule) == (NatMapping.UNKNOWN, PortRule.PRESERVING)


def test_fail__no_answers():
    assert classify([]) is None
