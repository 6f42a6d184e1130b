import json
from ipaddress import ip_address

from appliance.ports.randomness import SeededRandomness
from appliance.ports.resolver import MemoryResolver
from appliance.proto.http1.head import parse_request_head
from control.derp.bootstrap import BootstrapDns


def head(method: str = "GET", path: str = "/bootstrap-dns?q=elsewhere.example"):  # type: ignore[no-untyped-def]  # what the parser gives
    found = parse_request_head(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert found is not None
    return found[0]


async def test_ok__its_own_names_whatever_is_asked_and_the_last_addresses_of_one_that_fails() -> None:
    addresses = tuple(map(ip_address, ("192.0.2.1", "2001:db8::1")))
    resolver = MemoryResolver({"control.example": addresses})
    names = BootstrapDns(["control.example", "gone.example"], resolver, SeededRandomness(1))
    await names.refresh()
    resolver.names.clear()
    await names.refresh()
    reply = names.page(head())
    assert dict(reply.headers)["Content-Type"] == "application/json"
    assert {name: set(found) for name, found in json.loads(reply.body).items()} == {
        "control.example": {"192.0.2.1", "2001:db8::1"}
    }
    assert names.page(head("POST")).status == 405
