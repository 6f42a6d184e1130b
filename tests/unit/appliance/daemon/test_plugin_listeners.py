"""Where plugins may listen, and who is named when two want one place."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from appliance.api.values import ListenPlace, ListenScope, Transport
from appliance.daemon.plugin_listeners import PluginListeners
from appliance.types.errors import ApplianceError, ConfigError

IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
OWN = [ip_address("127.0.0.9"), ip_address("::1")]


def test_ok__tailnet_takes_the_first_own_address() -> None:
    listeners = PluginListeners(lambda: OWN)
    with listeners.open("page", ListenPlace(ListenScope.TAILNET, 0)) as listener:
        assert listener.getsockname()[0] == "127.0.0.9"
    with listeners.open("page", ListenPlace(ListenScope.TAILNET, 0, "::1")) as listener:
        assert listener.getsockname()[0] == "::1"
    with listeners.open("page", ListenPlace(ListenScope.LOCAL, 0)) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_ok__service_address_before_the_host_has_it_and_datagrams() -> None:
    listeners = PluginListeners(list)
    for transport, kind in ((Transport.TCP, socket.SOCK_STREAM), (Transport.UDP, socket.SOCK_DGRAM)):
        for address in ("100.100.100.100", "fd7a:115c:a1e0::53"):
            with listeners.open("dns", ListenPlace(ListenScope.SERVICE, 0, address, transport)) as sock:
                assert (sock.getsockname()[0], sock.type) == (address, kind)
    with listeners.open("dns", ListenPlace(ListenScope.SERVICE, 0)) as sock:
        assert sock.getsockname()[0] == "100.100.100.100"


def test_ok__an_exits_forwarder_takes_connections_to_any_address() -> None:
    listeners = PluginListeners(list)
    try:
        with listeners.open("exit", ListenPlace(ListenScope.EXIT, 0)) as v4:
            assert v4.getsockopt(socket.IPPROTO_IP, IP_TRANSPARENT) == 1
            port = v4.getsockname()[1]
            with listeners.open("exit", ListenPlace(ListenScope.EXIT, port, "::1")) as v6:
                assert v6.getsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT) == 1
    except PermissionError:
        pytest.skip("CAP_NET_ADMIN is missing")


@pytest.mark.parametrize(
    ("place", "code"),
    [
        (ListenPlace(ListenScope.TAILNET, 0, "127.0.0.1"), "not-connected"),
        (ListenPlace(ListenScope.LOCAL, 0, "127.0.0.9"), "config"),
        (ListenPlace(ListenScope.LOCAL, 0, "nonsense"), "config"),
        (ListenPlace(ListenScope.LOCAL, 70000), "config"),
        (ListenPlace(ListenScope.SERVICE, 0, "192.0.2.1"), "config"),
        (ListenPlace(ListenScope.EXIT, 0, "192.0.2.1"), "config"),
    ],
)
def test_fail__place_is_refused(place: ListenPlace, code: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        PluginListeners(lambda: OWN).open("page", place)
    assert caught.value.code == code
    assert caught.value.mend


def test_fail__not_connected() -> None:
    with pytest.raises(ApplianceError, match="not connected"):
        PluginListeners(list).open("page", ListenPlace(ListenScope.TAILNET, 80))


def test_fail__second_plugin_learns_who_has_the_port() -> None:
    listeners = PluginListeners(lambda: OWN)
    with listeners.open("page", ListenPlace(ListenScope.LOCAL, 0)) as listener:
        place = ListenPlace(ListenScope.LOCAL, listener.getsockname()[1])
        with pytest.raises(ApplianceError, match="plugin page"):
            listeners.open("serve", place)
        with pytest.raises(ApplianceError, match="this plugin itself"):
            listeners.open("page", place)
        listeners.released("page")
        with pytest.raises(ApplianceError, match="another program"):
            listeners.open("serve", place)
    assert ConfigError.code == "config"
