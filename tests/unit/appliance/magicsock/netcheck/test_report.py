from dataclasses import replace

from appliance.magicsock.netcheck.report import Report
from appliance.types.addresses import AddrPort
from appliance.types.ids import RegionId

A, B, C = (AddrPort("198.51.100.1", port) for port in (1, 2, 3))
V6 = AddrPort("2001:db8::1", 1)


def test_ok__mapped_gives_first_v4_last_v6_and_what_was_seen_twice():
    report = Report(global_v4=A, global_v6=V6, global_counts={A: 1, B: 2, C: 1, V6: 1})
    assert report.mapped() == (A, V6, B)


def test_ok__net_info_says_what_control_wants():
    report = Report(
        udp=True, ipv4=True, mapping_varies_by_dest_ip=False, region_v4_latency={RegionId(3): 0.012},
        region_v6_latency={RegionId(3): 0.013},
    )  # fmt: skip
    info = report.net_info(RegionId(3))
    assert info.working_udp
    assert info.preferred_derp == 3
    assert info.derp_latency == {"3-v4": 0.012, "3-v6": 0.013}


def test_ok__latency_alone_is_not_news():
    info = Report(region_v4_latency={RegionId(1): 0.1}).net_info(RegionId(1))
    assert info.says_the_same(replace(info, derp_latency={}))
    assert not info.says_the_same(replace(info, preferred_derp=2))
