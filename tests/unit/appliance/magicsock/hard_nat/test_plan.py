from appliance.magicsock.hard_nat.plan import Role, is_hard, make_plan, ports_to_probe
from appliance.ports.randomness import SeededRandomness
from appliance.proto.disco import NatClass, NatMapping, PortRule

EASY = NatClass(NatMapping.ENDPOINT_INDEPENDENT, PortRule.PRESERVING)
RANDOM = NatClass(NatMapping.ADDRESS_AND_PORT_DEPENDENT, PortRule.RANDOM)
COUNTING = NatClass(NatMapping.ADDRESS_AND_PORT_DEPENDENT, PortRule.SEQUENTIAL, step=2, last=65530)
BLOCK = NatClass(NatMapping.ADDRESS_DEPENDENT, PortRule.BLOCK, low=2000, high=2999)


def test_ok__the_hard_side_opens_and_the_easy_side_probes():
    for hard in (RANDOM, COUNTING, BLOCK):
        ours, theirs = make_plan(hard, EASY), make_plan(EASY, hard)
        assert (ours.role, theirs.role) == (Role.OPENER, Role.PROBER)
        assert (ours.sockets, ours.probes, ours.chance) == (theirs.sockets, theirs.probes, theirs.chance)
        assert ours.chance > 0.98


def test_ok__nothing_to_be_done():
    assert make_plan(RANDOM, COUNTING).role is Role.NONE
    assert "hard" in make_plan(RANDOM, RANDOM).why
    assert make_plan(EASY, EASY).role is Role.NONE


def test_ok__two_hard_nats_meet_where_both_can_be_foretold():
    small = NatClass(NatMapping.ADDRESS_AND_PORT_DEPENDENT, PortRule.BLOCK, low=2000, high=2400)
    for other in (COUNTING, small):
        plan = make_plan(COUNTING, other)
        assert plan.role is make_plan(other, COUNTING).role is Role.MEETER
        assert 0 < plan.chance <= 1
    assert make_plan(COUNTING, BLOCK).role is Role.NONE, "a block of a thousand ports"


def test_ok__fewer_sockets_less_chance():
    small = make_plan(RANDOM, EASY, 32)
    assert small.sockets == 32
    assert 0.6 < small.chance < 0.7


def test_ok__unknown_mapping_is_judged_by_its_ports():
    assert is_hard(NatClass(NatMapping.UNKNOWN, PortRule.RANDOM))
    assert not is_hard(NatClass(NatMapping.UNKNOWN, PortRule.PRESERVING))


def test_ok__ports_are_distinct_and_where_they_should_be():
    chance = SeededRandomness(1)
    ports = ports_to_probe(RANDOM, 2048, chance)
    assert len(set(ports)) == 2048
    assert all(1024 <= port <= 65535 for port in ports)
    ports = ports_to_probe(BLOCK, 5000, chance)
    assert set(ports) == set(range(1488, 3512)), "the block and what may lie beside it"


def test_ok__prediction_goes_on_where_counting_wraps():
    ports = ports_to_probe(COUNTING, 32, SeededRandomness(1))
    assert ports[:3] == [65532, 65534, 1024]
    assert len(set(ports)) == 32
