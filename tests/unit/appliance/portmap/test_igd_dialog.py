from __future__ import annotations

import pytest

from appliance.portmap.igd_dialog import IgdResult, ask_for_mapping, forget_mapping
from appliance.portmap.mapping import WANTED_LIFETIME_S
from appliance.portmap.requests import Wish
from appliance.proto.portmap.igd import Place, Service
from appliance.proto.portmap.ssdp import Answer
from appliance.proto.portmap.web import Reply
from appliance.types.addresses import AddrPort
from tests.unit.appliance.portmap.twin_router import IP1, IP2, PLACE, PORT, TwinRouter, soap

PPP1 = "urn:schemas-upnp-org:service:WANPPPConnection:1"
WISH = Wish(PLACE, PORT, AddrPort("0.0.0.0", 0), bytes(12))


def talk(
    router: TwinRouter, wish: Wish = WISH, known: Service | None = None, answers: tuple[Answer, ...] | None = None
) -> IgdResult:
    """The whole dialogue with a router."""
    found = (Answer(router.location, "", ""),) if answers is None else answers
    dialogue = ask_for_mapping(wish, found, known, lambda bound: bound // 2)
    reply: Reply | None = None
    try:
        request = next(dialogue)
        while True:
            reply = router.web(request.port, request.data)
            request = dialogue.send(reply)
    except StopIteration as stop:
        result = stop.value
    assert isinstance(result, IgdResult)
    return result


def test_ok__address_before_mapping_with_a_lease_and_a_port_of_chance() -> None:
    router = TwinRouter()
    result = talk(router)
    assert router.asked == ["GetExternalIPAddress", "AddPortMapping"]
    assert result.external == AddrPort("203.0.113.5", 1024 + (65534 - 1024 + 1) // 2)
    assert router.arguments["NewLeaseDuration"] == str(WANTED_LIFETIME_S)
    assert router.arguments["NewInternalClient"] == "192.168.1.10"
    assert router.arguments["NewProtocol"] == "UDP"


def test_ok__same_port_again_and_the_known_service_first() -> None:
    router = TwinRouter()
    known = Service(IP1, Place(5000, "/0"))
    result = talk(router, Wish(PLACE, PORT, AddrPort("203.0.113.5", 50001), bytes(12)), known, answers=())
    assert result == IgdResult(known, AddrPort("203.0.113.5", 50001))


def test_ok__version_two_reserves_a_port() -> None:
    router = TwinRouter(services=(IP1, IP2))
    result = talk(router)
    assert result.service is not None
    assert result.service.type == IP2
    assert "AddAnyPortMapping" in router.asked


def test_ok__several_services_are_rated() -> None:
    class Rated(TwinRouter):
        """The first service has a private address."""

        def web(self, port: int, data: bytes) -> Reply | None:
            reply = super().web(port, data)
            if b"POST /0 " in data and b"GetExternalIPAddress" in data:
                return soap("GetExternalIPAddress", NewExternalIPAddress="10.1.1.1")
            return reply

    result = talk(Rated(services=(IP1, PPP1)))
    assert result.service == Service(PPP1, Place(5000, "/1"))
    assert result.external.ip == "203.0.113.5"


@pytest.mark.parametrize("code", [725, 402])
def test_ok__permanent_where_the_router_knows_no_leases(code: int) -> None:
    router = TwinRouter(faults=[code])
    assert talk(router).service is not None
    assert router.arguments["NewLeaseDuration"] == "0"


def test_ok__another_port_after_a_conflict() -> None:
    router = TwinRouter(faults=[718])
    result = talk(router, Wish(PLACE, PORT, AddrPort("203.0.113.5", 50001), bytes(12)))
    assert result.service is not None
    assert result.external.port != 50001


@pytest.mark.parametrize("faults", [[718] * 9, [501], [725, 725], [402, 402, 402]])
def test_fail__refused(faults: list[int]) -> None:
    router = TwinRouter(faults=list(faults))
    result = talk(router)
    assert result.service is None
    assert f"error {faults[0]}" in result.error
    assert not router.mappings


def test_fail__no_mapping_without_an_outside_address() -> None:
    router = TwinRouter(external="0.0.0.0")
    result = talk(router)
    assert result.service is None
    assert router.asked == ["GetExternalIPAddress"]


@pytest.mark.parametrize(
    "location", ["http://192.168.1.1:9/none", "http://name.example/x", "ftp://192.168.1.1/x", "http://192.168.1.1:5000"]
)
def test_fail__descriptions_that_are_not_there(location: str) -> None:
    router = TwinRouter(services=())
    assert talk(router, answers=(Answer(location, "", ""),)).service is None


def test_ok__a_location_elsewhere_is_asked_at_the_router() -> None:
    dialogue = ask_for_mapping(WISH, (Answer("http://203.0.113.99:5000/d.xml", "", ""),), None, lambda bound: 0)
    request = next(dialogue)
    assert request.port == 5000
    assert b"Host: 192.168.1.1:5000\r\n" in request.data


def test_ok__deletion() -> None:
    request = forget_mapping(WISH, Service(IP1, Place(5000, "/0")), 50001)
    assert request.port == 5000
    assert b"DeletePortMapping" in request.data
    assert b"<NewExternalPort>50001</NewExternalPort>" in request.data
