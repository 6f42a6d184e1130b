"""The system's resolver, on what every host knows."""

import asyncio
import socket
from ipaddress import ip_address

import pytest

from appliance.drivers.resolver import SystemResolver
from appliance.types.addresses import Address


async def test_ok__literal_and_localhost():
    assert await SystemResolver().resolve("192.0.2.7") == (ip_address("192.0.2.7"),)
    found = await SystemResolver().resolve("localhost")
    assert found
    assert all(address.is_loopback for address in found)


async def test_fail__no_host_name():
    with pytest.raises(socket.gaierror):
        await SystemResolver().resolve("a" * 70 + ".example")


async def test_ok__a_silent_resolver_is_gone_around(monkeypatch: pytest.MonkeyPatch) -> None:
    outside: dict[str, tuple[Address, ...]] = {"control.example": (ip_address("192.0.2.9"),)}

    async def past_the_tunnel(host: str) -> tuple[Address, ...]:
        return outside.get(host, ())

    resolver = SystemResolver(past_the_tunnel)
    known = await resolver.resolve("localhost")
    error = socket.gaierror(socket.EAI_AGAIN, "try again")

    async def fails(*_arguments: object, **_more: object) -> None:
        raise error

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fails)
    assert await resolver.resolve("localhost") == known, "the last addresses"
    assert await resolver.resolve("control.example") == outside["control.example"]
    outside.clear()
    assert await resolver.resolve("control.example") == (ip_address("192.0.2.9"),)
    with pytest.raises(socket.gaierror):
        await resolver.resolve("never-asked.example")
    error = socket.gaierror(socket.EAI_NONAME, "no such name")
    with pytest.raises(socket.gaierror):
        await resolver.resolve("localhost")
