from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from appliance.portmap.mapping import WANTED_LIFETIME_S
from appliance.portmap.requests import MIN_LIFETIME_S, PcpRequest, PmpRequest, Wish
from appliance.proto.portmap import natpmp, pcp
from appliance.types.addresses import AddrPort
from tests.unit.appliance.portmap.twin_router import PLACE, PORT

NONCE = bytes(range(12))
WISH = Wish(PLACE, PORT, AddrPort("0.0.0.0", 0), NONCE)
OUTSIDE = IPv4Address("203.0.113.5")


def granted(**changes: object) -> pcp.Reply:
    data = {"nonce": NONCE, "internal_port": PORT, "external_port": 50001, "external_address": OUTSIDE, **changes}
    return pcp.Reply(pcp.MAP, 0, 7200, 1, pcp.MapData(**data))  # type: ignore[arg-type]  # as the test says


def test_ok__pmp_needs_both_answers_in_any_order() -> None:
    request = PmpRequest(WISH)
    assert len(request.requests()) == 2
    request.receive(natpmp.MapReply(0, 1, PORT, 50001, 3600), 10.0)
    assert request.mapping is None
    assert request.requests() == [natpmp.encode_address_request()]
    request.receive(natpmp.AddressReply(0, 1, OUTSIDE), 11.0)
    assert request.mapping is not None
    assert (request.mapping.external, request.mapping.lifetime_s) == (AddrPort("203.0.113.5", 50001), 3600)


@pytest.mark.parametrize(
    "reply", [natpmp.MapReply(4, 1), natpmp.AddressReply(3, 1), natpmp.AddressReply(0, 1), natpmp.MapReply(99, 1)]
)
def test_fail__pmp_refused(reply: object) -> None:
    request = PmpRequest(WISH)
    request.receive(reply, 10.0)
    assert request.refused
    assert request.mapping is None


def test_fail__pmp_answer_for_another_port() -> None:
    request = PmpRequest(WISH)
    request.receive(natpmp.AddressReply(0, 1, OUTSIDE), 10.0)
    request.receive(natpmp.MapReply(0, 1, PORT + 1, 50001, 3600), 10.0)
    assert request.mapping is None


def test_ok__pcp_asks_for_the_port_that_it_had() -> None:
    request = PcpRequest(Wish(PLACE, PORT, AddrPort("203.0.113.5", 50001), NONCE))
    (data,) = request.requests()
    assert data[42:44] == (50001).to_bytes(2, "big")
    request.receive(granted(), 10.0)
    assert request.mapping is not None
    assert request.mapping.external == AddrPort("203.0.113.5", 50001)


@pytest.mark.parametrize("change", [{"nonce": bytes(12)}, {"internal_port": 1}, {"external_port": 0}])
def test_fail__pcp_answer_to_somebody_else(change: dict[str, object]) -> None:
    request = PcpRequest(WISH)
    request.receive(granted(**change), 10.0)
    assert request.mapping is None
    assert not request.refused


@pytest.mark.parametrize("address", [IPv4Address(0), IPv4Address("127.0.0.1"), IPv6Address("2001:db8::1")])
def test_fail__address_that_nobody_reaches(address: object) -> None:
    request = PcpRequest(WISH)
    request.receive(granted(external_address=address), 10.0)
    assert request.mapping is None
    assert "nobody can reach" in request.refused


def test_ok__tiny_and_endless_lifetimes_are_bounded() -> None:
    for lifetime, used in ((1, MIN_LIFETIME_S), (2**32 - 1, float(WANTED_LIFETIME_S))):
        request = PcpRequest(WISH)
        request.receive(pcp.Reply(pcp.MAP, 0, lifetime, 1, granted().mapping), 10.0)
        assert request.mapping is not None
        assert request.mapping.lifetime_s == used


def test_fail__announcements_and_strangers_do_not_answer() -> None:
    request = PcpRequest(WISH)
    request.receive(pcp.Reply(pcp.ANNOUNCE, 0, 0, 1), 10.0)
    request.receive(natpmp.MapReply(0, 1, PORT, 50001, 3600), 10.0)
    assert request.mapping is None
    assert not request.refused
