"""The system's resolver, on what every host knows."""

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
