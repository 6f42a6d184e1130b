import pytest

from appliance.magicsock.netcheck.plan import incremental_plan, initial_plan, node_speaks
from appliance.magicsock.netcheck.report import Report
from appliance.types.ids import RegionId
from appliance.types.netmap import DerpMap, DerpNode, DerpRegion

NONE = RegionId(0)


def region(number, nodes=1, **changes):
    made = tuple(DerpNode(f"{number}{chr(97 + n)}", number, f"d{number}{n}.example") for n in range(nodes))
    return DerpRegion(RegionId(number), f"r{number}", f"R{number}", made, **changes)


def derp_map(*regions):
    return DerpMap({r.id: r for r in regions})


def last(**latencies):
    known = {RegionId(int(name[1:])): ms / 1000 for name, ms in latencies.items()}
    return Report(region_latency=known, region_v4_latency=known)


def shape(plan):
    """{(region, family): ((node, delay in ms), ...)}"""
    return {
        (s.region, "v6" if s.v6 else "v4"): tuple((p.node.name, round(p.delay_s * 1000)) for p in s.probes)
        for s in plan
    }


def test_ok__initial_three_tries_per_family_over_the_nodes():
    assert shape(initial_plan(derp_map(region(1, 2)), True, True)) == {
        (1, "v4"): (("1a", 0), ("1b", 100), ("1a", 200)),
        (1, "v6"): (("1a", 0), ("1b", 100), ("1a", 200)),
    }


def test_ok__initial_leaves_out_what_must_not_be_measured():
    plan = initial_plan(derp_map(region(1, no_measure_no_home=True), region(2, 0), region(3, avoid=True)), True, False)
    assert [s.region for s in plan] == [3]


def test_ok__example_of_the_spec_without_home():
    regions = derp_map(region(1), region(2, 2), region(3), region(4))
    assert shape(incremental_plan(regions, True, False, last(r1=10, r2=20, r3=30, r4=40), NONE)) == {
        (1, "v4"): (("1a", 0), ("1a", 12)),
        (2, "v4"): (("2a", 0), ("2b", 24)),
        (3, "v4"): (("3a", 0),),
    }


def test_ok__example_of_the_spec_with_home():
    plan = shape(incremental_plan(derp_map(region(1)), True, False, last(r1=50), RegionId(1)))
    assert plan == {(1, "v4"): (("1a", 0), ("1a", 60), ("1a", 220), ("1a", 330))}


def test_ok__home_is_probed_wherever_it_ranks():
    regions = derp_map(*(region(n) for n in range(1, 6)))
    plan = incremental_plan(regions, True, False, last(r1=1, r2=2, r3=3, r4=4, r5=5), RegionId(5))
    assert [s.region for s in plan] == [1, 2, 3, 5]


def test_ok__far_regions_take_turns_with_families():
    both = {RegionId(n): n / 100 for n in (1, 2, 3)}
    report = Report(region_latency=both, region_v4_latency=both, region_v6_latency=both)
    plan = incremental_plan(derp_map(region(1), region(2), region(3)), True, True, report, NONE)
    assert [(s.region, s.v6) for s in plan if s.region == 3] == [(3, False)]


def test_ok__one_try_over_v6_when_it_never_answered():
    plan = shape(incremental_plan(derp_map(region(1)), True, True, last(r1=10), RegionId(1)))
    assert len(plan[1, "v6"]) == 1


def test_ok__nothing_known_means_the_initial_plan():
    assert incremental_plan(derp_map(region(1)), True, False, Report(), NONE) == initial_plan(
        derp_map(region(1)), True, False
    )


@pytest.mark.parametrize(
    ("ipv4", "v4", "v6"),
    [("", True, True), ("192.0.2.1", True, True), ("none", False, True), ("2001:db8::1", False, True)],
)
def test_ok__families_of_a_node(ipv4, v4, v6):
    node = DerpNode("1a", RegionId(1), "d.example", ipv4=ipv4)
    assert (node_speaks(node, False), node_speaks(node, True)) == (v4, v6)
