from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from appliance.portmap.machine import CHECK_S, MISSED_CHECKS, RENEW_GAP_S, RETRY_S, UPNP_RENEW_S, PortMapper
from appliance.portmap.mapping import Kind, PortMapping, RouterPlace
from appliance.ports.randomness import SeededRandomness
from appliance.proto.portmap import pcp
from appliance.types.addresses import AddrPort
from tests.unit.appliance.portmap.twin_router import PLACE, PORT, Rig

ROUTER = AddrPort("192.168.1.1", 5351)
OUTSIDE = AddrPort("203.0.113.5", 50001)


@pytest.mark.parametrize("kind", [Kind.PCP, Kind.NAT_PMP])
def test_ok__a_mapping_by_each_protocol(rig: Rig, kind: Kind) -> None:
    rig.router.speaks = {kind}
    rig.join()
    rig.run(2)
    assert rig.external == OUTSIDE
    assert rig.machine.result.seen == {kind}
    assert rig.machine.result.mapping is not None
    assert rig.machine.result.mapping.kind is kind


def test_ok__a_mapping_by_upnp(rig: Rig) -> None:
    rig.router.speaks = {Kind.UPNP}
    rig.join()
    rig.run(2)
    assert rig.external is not None
    assert rig.external.ip == "203.0.113.5"
    assert rig.router.mappings == {PORT: rig.external.port}


def test_ok__the_best_protocol_does_not_wait_for_the_others(rig: Rig) -> None:
    rig.router.speaks = {Kind.PCP}
    rig.join()
    assert rig.external == OUTSIDE
    rig.run(2)
    assert rig.machine.result.seen == {Kind.PCP}
    assert rig.router.asked.count("pcp map") == 1


def test_ok__only_the_protocol_that_is_set() -> None:
    rig = Rig(Kind.NAT_PMP)
    rig.join()
    rig.run(2)
    assert rig.machine.result.seen == {Kind.NAT_PMP}
    assert "pcp announce" not in rig.router.asked


@pytest.mark.parametrize(
    ("refuse", "used"),
    [({Kind.PCP: 8}, Kind.NAT_PMP), ({Kind.PCP: 8, Kind.NAT_PMP: 2}, Kind.UPNP)],
)
def test_ok__who_refuses_gives_way(rig: Rig, refuse: dict[Kind, int], used: Kind) -> None:
    rig.router.refuse = refuse
    rig.join()
    rig.run(2)
    assert rig.machine.result.mapping is not None
    assert rig.machine.result.mapping.kind is used
    assert rig.machine.result.seen == set(Kind)


def test_fail__all_refuse_and_are_asked_again_later(rig: Rig) -> None:
    rig.router.refuse = {Kind.PCP: 8, Kind.NAT_PMP: 2}
    rig.router.faults = [501] * 100
    rig.join()
    rig.run(2)
    assert rig.external is None
    assert "501" in rig.machine.result.error
    rig.router.refuse = {}
    rig.run(RETRY_S)
    assert rig.external == OUTSIDE
    assert not rig.machine.result.error


def test_fail__a_silent_router_is_asked_ever_more_rarely(rig: Rig) -> None:
    rig.router.speaks = set()
    rig.join()
    rig.run(2)
    assert rig.machine.result.seen == set()
    assert "neither" in rig.machine.result.error
    rig.run(3600)
    assert len(rig.sent) < 25 * 15
    rig.router.speaks = {Kind.PCP}
    rig.run(700)
    assert rig.external == OUTSIDE


def test_ok__lost_datagrams_are_sent_again(rig: Rig) -> None:
    rig.lost = True
    rig.join()
    rig.run(0.3)
    rig.lost = False
    rig.run(2)
    assert rig.external == OUTSIDE


def test_ok__renewed_at_half_its_life_with_the_same_nonce_and_port(rig: Rig) -> None:
    rig.router.speaks = {Kind.PCP}
    rig.join()
    first = rig.machine.result.mapping
    rig.run(3590)
    assert rig.router.asked.count("pcp map") == 1
    rig.run(20)
    assert rig.router.asked.count("pcp map") == 2
    renewed = rig.machine.result.mapping
    assert first is not None
    assert renewed is not None
    assert renewed.external == first.external
    assert renewed.expires_at > first.expires_at
    maps = [item.data for item in rig.sent if len(item.data) == 60]
    assert {data[24:36] for data in maps} == {maps[0][24:36]}


@pytest.mark.parametrize("kind", [Kind.PCP, Kind.NAT_PMP])
def test_ok__a_restarted_router_is_noticed_by_its_epoch(rig: Rig, kind: Kind) -> None:
    rig.router.speaks = {kind}
    rig.join()
    rig.run(30)
    rig.router.booted_at, rig.router.mappings = rig.now, {}
    rig.run(CHECK_S + 1)
    assert rig.router.mappings == {PORT: 50001}, "asked for again, and for the same port"
    assert rig.machine.counters["portmap_router_restarted"] == 1


def test_ok__its_announcement_is_noticed_at_once(rig: Rig) -> None:
    rig.router.speaks = {Kind.PCP}
    rig.join()
    rig.run(30)
    rig.router.booted_at, rig.router.mappings = rig.now, {}
    announcement = bytes((2, 0x80, 0, 0)) + bytes(4) + rig.router.epoch(rig.now) + bytes(12)
    rig.machine.receive_datagram(announcement, ROUTER, rig.now)
    rig.run(0.1)
    assert rig.router.mappings == {PORT: 50001}


def test_ok__an_announcement_counts_although_the_epoch_fits(rig: Rig) -> None:
    rig.router.speaks = {Kind.PCP}
    rig.router.booted_at = rig.now
    rig.join()
    rig.router.mappings = {}
    announcement = bytes((2, 0x80, 0, 0)) + bytes(4) + rig.router.epoch(rig.now) + bytes(12)
    rig.machine.receive_datagram(announcement, ROUTER, rig.now, announced=True)
    rig.run(RENEW_GAP_S + 0.1)
    assert rig.router.mappings == {PORT: 50001}


def test_ok__announcements_that_lie_cause_few_renewals(rig: Rig) -> None:
    rig.router.speaks = {Kind.PCP}
    rig.join()
    for _ in range(1000):
        rig.machine.receive_datagram(bytes((2, 0x80, 0, 0)) + bytes(20), ROUTER, rig.now)
        rig.run(0.01)
    assert rig.router.asked.count("pcp map") <= 4


def test_ok__another_outside_address_is_told(rig: Rig) -> None:
    rig.router.speaks = {Kind.NAT_PMP}
    rig.join()
    rig.run(10)
    rig.router.external = "198.51.100.7"
    rig.run(CHECK_S + 1)
    assert rig.external == AddrPort("198.51.100.7", 50001)


@pytest.mark.parametrize("kind", list(Kind))
def test_ok__a_router_that_is_gone_is_given_up_and_found_again(rig: Rig, kind: Kind) -> None:
    rig.router.speaks = {kind}
    rig.join()
    rig.run(2)
    assert rig.external is not None
    rig.lost = True
    rig.run(max(CHECK_S * (MISSED_CHECKS + 2), UPNP_RENEW_S + 10))
    assert rig.external is None
    rig.lost = False
    rig.run(700)
    assert rig.external is not None


def test_ok__upnp_is_asked_again_because_it_has_no_epoch(rig: Rig) -> None:
    rig.router.speaks = {Kind.UPNP}
    rig.join()
    rig.run(2)
    before = rig.external
    rig.router.mappings = {}
    rig.run(UPNP_RENEW_S + 1)
    assert rig.external == before
    assert before is not None
    assert rig.router.mappings == {PORT: before.port}


def test_ok__a_late_answer_still_counts(rig: Rig) -> None:
    rig.router.speaks = set()
    rig.join()
    rig.run(1.5)
    answer = bytes((2, 0x80, 0, 0)) + bytes(4) + rig.router.epoch(rig.now) + bytes(12)
    rig.router.speaks = {Kind.PCP}
    rig.machine.receive_datagram(answer, ROUTER, rig.now)
    rig.carry()
    assert rig.external == OUTSIDE


@pytest.mark.parametrize("kind", list(Kind))
def test_ok__released(rig: Rig, kind: Kind) -> None:
    rig.router.speaks = {kind}
    rig.join()
    rig.run(2)
    rig.machine.release(rig.now)
    rig.carry()
    assert rig.router.mappings == {}
    assert rig.machine.result == PortMapping()
    assert rig.machine.next_timer() is None


def test_ok__another_router_means_another_mapping(rig: Rig) -> None:
    rig.router.speaks = {Kind.PCP}
    rig.join()
    changes = rig.changes
    rig.machine.set_network(RouterPlace(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")), PORT, rig.now)
    rig.carry()
    assert rig.external is None, "what the old router gave is void at once"
    assert rig.changes > changes
    assert rig.sent[-1].to.ip in ("10.0.0.1", "239.255.255.250")


def test_ok__the_same_network_again_changes_nothing(rig: Rig) -> None:
    rig.router.speaks = {Kind.PCP}
    rig.join()
    sent = len(rig.sent)
    rig.join()
    assert rig.external == OUTSIDE
    assert len(rig.sent) == sent


def test_ok__another_port_is_mapped_anew(rig: Rig) -> None:
    rig.router.speaks = {Kind.PCP}
    rig.join()
    rig.machine.set_network(PLACE, 5555, rig.now)
    rig.carry()
    assert rig.router.mappings == {5555: 50001}


def test_ok__probing_leaves_the_mapping_alone(rig: Rig) -> None:
    rig.join()
    rig.run(2)
    before = rig.machine.result.mapping
    rig.router.speaks = {Kind.PCP}
    rig.machine.probe(rig.now)
    assert rig.machine.searching
    rig.carry()
    rig.run(2)
    assert not rig.machine.searching
    assert rig.machine.result.seen == {Kind.PCP}
    assert rig.machine.result.mapping == before


def test_fail__strangers_and_nonsense_are_counted(rig: Rig) -> None:
    rig.router.speaks = set()
    rig.join()
    good = bytes((2, 0x80, 0, 0)) + bytes(20)
    rig.machine.receive_datagram(good, AddrPort("192.168.1.66", 5351), rig.now)
    rig.machine.receive_datagram(b"\2", ROUTER, rig.now)
    rig.machine.receive_datagram(b"HTTP/1.1 200 OK\r\n\r\n", AddrPort("192.168.1.1", 1900), rig.now)
    rig.run(2)
    assert rig.machine.result.seen == set()
    assert rig.machine.counters["portmap_stranger"] == 1
    assert rig.machine.counters["portmap_too_short"] == 1
    assert rig.machine.counters["portmap_bad_type"] == 1


def test_ok__a_nat_pmp_router_refuses_the_version_of_pcp_and_is_used(rig: Rig) -> None:
    rig.router.speaks = {Kind.NAT_PMP}
    rig.machine.set_network(PLACE, PORT, rig.now)
    rig.machine.receive_datagram(bytes((0, 0x80, 0, 1)) + rig.router.epoch(rig.now), ROUTER, rig.now)
    rig.carry()
    rig.run(2)
    assert rig.external == OUTSIDE


@pytest.mark.parametrize("result", [pcp.NOT_AUTHORIZED, pcp.ADDRESS_MISMATCH])
def test_fail__pcp_that_may_not_be_used_is_not_there(rig: Rig, result: int) -> None:
    rig.router.speaks = set()
    rig.join()
    rig.machine.receive_datagram(bytes((2, 0x80, 0, result)) + bytes(20), ROUTER, rig.now)
    rig.run(2)
    assert rig.machine.result.seen == set()


def test_fail__web_replies_that_nobody_waits_for(rig: Rig) -> None:
    rig.join()
    rig.machine.receive_web(99, None, rig.now)
    assert rig.external == OUTSIDE


@pytest.mark.parametrize("kept", [True, False])
def test_ok__after_a_crash_the_same_nonce_gets_the_mapping_again(rig: Rig, kept: bool) -> None:
    rig.router.speaks = {Kind.PCP}
    nonce_of = (lambda place: bytes(12 - len(place)) + place) if kept else None
    rig.machine = PortMapper(SeededRandomness(1), nonce_of=nonce_of)
    rig.join()
    assert rig.external == OUTSIDE
    rig.machine = PortMapper(SeededRandomness(2), nonce_of=nonce_of)
    rig.join()
    rig.run(2)
    assert (rig.external == OUTSIDE) is kept
    assert kept or "not authorised" in rig.machine.result.error
