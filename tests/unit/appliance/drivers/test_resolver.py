"""The system's resolver, on what every host knows."""

import asyncio
import socket
from ipaddress import ip_address

import pytest

from appliance.drivers.resolver import SystemResolver


async def test_ok__literal_and_localhost():
    assert await SystemResolver().resolve("192.0.2.7") == (ip_address("192.0.2.7"),)
    found = await SystemResolver().resolve("localhost")
    assert found
    assert all(address.is_loopback for address in found)


async def test_fail__no_host_name():
    with pytest.raises(socket.gaierror):
        await SystemResolver().resolve("a" * 70 + ".example")


async def test_ok__a_silent_resolver_leaves_the_last_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = SystemResolver()
    known = await resolver.resolve("localhost")
    error = socket.gaierror(socket.EAI_AGAIN, "try again")

    async def fails(*_arguments: object, **_more: object) -> None:
        raise error

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fails)
    assert await resolver.resolve("localhost") == known
    with pytest.raises(socket.gaierror):
        await resolver.resolve("never-asked.example")
    error = socket.gaierror(socket.EAI_NONAME, "no such name")
    with pytest.raises(socket.gaierror):
        await resolver.resolve("localhost")
