"""Listeners on real addresses of this host."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from appliance.drivers.listeners import ListenTakenError, open_listener
from appliance.types.errors import UnderlayError


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_ok__listens(address: str) -> None:
    with open_listener(ip_address(address), 0) as listener:
        assert not listener.getblocking()
        assert not listener.get_inheritable()
        with socket.create_connection(listener.getsockname()[:2], timeout=5):
            pass


def test_fail__taken_and_foreign_addresses_are_named() -> None:
    with open_listener(ip_address("127.0.0.1"), 0) as first, pytest.raises(ListenTakenError, match=r"127\.0\.0\.1"):
        open_listener(ip_address("127.0.0.1"), first.getsockname()[1])
    with pytest.raises(UnderlayError, match=r"203\.0\.113\.77 is no address"):
        open_listener(ip_address("203.0.113.77"), 0)
