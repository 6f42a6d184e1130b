import socket

import pytest

from appliance.drivers.source_addresses import SourceAddresses


class Routes:
    """Sockets whose making is counted."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, family: int, kind: int, protocol: int = 0, /) -> socket.socket:
        self.asked += 1
        return socket.socket(family, kind, protocol)


def test_ok__remembers_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("appliance.drivers.source_addresses.time.monotonic", lambda: now)
    routes = Routes()
    sources = SourceAddresses(sockets=routes)
    assert [sources.toward("127.0.0.9"), sources.toward("127.0.0.9")] == ["127.0.0.1"] * 2
    assert routes.asked == 1
    assert sources.toward("::1") == "::1"
    now += 6
    assert sources.toward("127.0.0.9") == "127.0.0.1"
    assert routes.asked == 3


def test_fail__no_route() -> None:
    with pytest.raises(OSError, match=r"[Uu]nreachable|[Ii]nvalid|denied|not support"):
        SourceAddresses().toward("255.255.255.255")
