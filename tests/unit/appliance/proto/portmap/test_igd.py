from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from appliance.proto.portmap.igd import (
    ActionReply,
    Place,
    Service,
    add_arguments,
    encode_action,
    encode_get,
    parse_action_reply,
    parse_description,
    parse_external_address,
    parse_location,
    parse_port,
    port_arguments,
)
from appliance.types.errors import DecodeError

ROUTER = IPv4Address("192.168.1.1")
LOCATION = "http://192.168.1.1:5000/rootDesc.xml"
IP1 = "urn:schemas-upnp-org:service:WANIPConnection:1"
PPP1 = "urn:schemas-upnp-org:service:WANPPPConnection:1"


def device(*services: tuple[str, str], base: str = "") -> bytes:
    """A description with the services three devices deep, as routers nest them."""
    listed = "".join(
        f"<service><serviceType>{kind}</serviceType><controlURL>{url}</controlURL></service>" for kind, url in services
    )
    inner = f"<device><serviceList>{listed}</serviceList></device>"
    nested = f"<device><deviceList><device><deviceList>{inner}</deviceList></device></deviceList></device>"
    return f'<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">{base}{nested}</root>'.encode()


def fault(code: str, prefix: str = "s") -> bytes:
    return (
        f'<{prefix}:Envelope xmlns:{prefix}="http://schemas.xmlsoap.org/soap/envelope/"><{prefix}:Body><{prefix}:Fault>'
        f"<detail><UPnPError><errorCode>{code}</errorCode></UPnPError></detail>"
        f"</{prefix}:Fault></{prefix}:Body></{prefix}:Envelope>"
    ).encode()


def test_ok__services_in_order_of_worth() -> None:
    body = device((PPP1, "/ppp"), ("urn:other:service:Layer3Forwarding:1", "/l3"), (IP1, "ctl/ip?x=1"))
    assert parse_description(body, LOCATION) == (
        Service(IP1, Place(5000, "/ctl/ip?x=1")),
        Service(PPP1, Place(5000, "/ppp")),
    )


def test_ok__url_base_gives_the_port_but_never_the_host() -> None:
    body = device((IP1, "/ip"), base="<URLBase>http://10.9.9.9:8080/</URLBase>")
    assert parse_description(body, LOCATION) == (Service(IP1, Place(8080, "/ip")),)
    (service,) = parse_description(device((IP1, "http://203.0.113.9:81/evil")), LOCATION)
    assert encode_action(ROUTER, service, "X").split(b"\r\n")[1] == b"Host: 192.168.1.1:81"


def test_ok__broken_services_are_left_out() -> None:
    body = device((IP1, "https://192.168.1.1/"), (IP1, "http://[::1"), (IP1, "http://name.example/x"), (PPP1, "/p"))
    assert [service.type for service in parse_description(body, LOCATION)] == [PPP1]


def test_ok__get() -> None:
    assert encode_get(ROUTER, parse_location(LOCATION)).startswith(
        b"GET /rootDesc.xml HTTP/1.1\r\nHost: 192.168.1.1:5000\r\n"
    )


def test_ok__action_as_choosy_routers_want_it() -> None:
    request = encode_action(ROUTER, Service(IP1, Place(80, "/ip")), "GetStatusInfo", (("A", "<&>"), ("B", "")))
    head, _, body = request.partition(b"\r\n\r\n")
    assert f'SOAPACTION: "{IP1}#GetStatusInfo"'.encode() in head.split(b"\r\n")
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
    assert f'<u:GetStatusInfo xmlns:u="{IP1}"><A>&lt;&amp;&gt;</A><B></B></u:GetStatusInfo>'.encode() in body


def test_ok__arguments_in_order() -> None:
    names = [name for name, _ in add_arguments(5000, 41641, IPv4Address("192.168.1.2"), 7200, "waypost")]
    assert names == [
        "NewRemoteHost", "NewExternalPort", "NewProtocol", "NewInternalPort", "NewInternalClient", "NewEnabled",
        "NewPortMappingDescription", "NewLeaseDuration",
    ]  # fmt: skip


def test_ok__action_reply_and_faults_with_any_prefix() -> None:
    body = b"<s:E><s:Body><u:GetExternalIPAddressResponse><NewExternalIPAddress>203.0.113.5</NewExternalIPAddress>"
    body += b"</u:GetExternalIPAddressResponse></s:Body></s:E>"
    reply = parse_action_reply(200, body, "GetExternalIPAddress")
    assert reply == ActionReply({"NewExternalIPAddress": "203.0.113.5"})
    assert parse_external_address(reply) == IPv4Address("203.0.113.5")
    for prefix in ("s", "SOAP-ENV"):
        assert parse_action_reply(500, fault("725", prefix), "AddPortMapping").error == 725


@pytest.mark.parametrize("text", ["", "0.0.0.0", "127.0.0.1", "224.0.0.1", "2001:db8::1", "x"])
def test_fail__addresses_of_no_use(text: str) -> None:
    assert parse_external_address(ActionReply({"NewExternalIPAddress": text})) is None


@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "1x", "９"])
def test_fail__ports_of_no_use(text: str) -> None:
    assert parse_port(text) is None


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_fail__all_ports_are_never_asked_for(port: int) -> None:
    with pytest.raises(ValueError, match="one external port"):
        port_arguments(port)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://router.local:5000/x",
        "https://192.168.1.1/x",
        "file:///etc/passwd",
        "http://192.168.1.1:99999/x",
        "http://user@192.168.1.1/x",
        "http://192.168.1.1/a b",
        "http://192.168.1.1/\r\nX: y",
        "http://[fe80::1]/x",
        "http://192.168.1.1/" + "x" * 2000,
    ],
)
def test_fail__locations_that_lead_elsewhere(url: str) -> None:
    with pytest.raises(DecodeError):
        parse_location(url)


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b"<a/>"), (200, b"<a/>"), (500, b"<a/>"), (200, b"no xml"), (500, fault("x")), (500, fault("12345678"))],
)
def test_fail__replies_that_are_none(status: int, body: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_action_reply(status, body, "AddPortMapping")
