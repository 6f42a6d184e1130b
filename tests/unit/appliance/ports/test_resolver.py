"""The resolver's twin."""

import socket
from ipaddress import ip_address

import pytest

from appliance.ports.resolver import MemoryResolver


async def test_ok__names_and_literals():
    twin = MemoryResolver({"control.example": (ip_address("192.0.2.1"),)})
    assert await twin.resolve("control.example") == (ip_address("192.0.2.1"),)
    assert await twin.resolve("::1") == (ip_address("::1"),)


async def test_fail__unknown():
    with pytest.raises(socket.gaierror):
        await MemoryResolver().resolve("nowhere.example")
