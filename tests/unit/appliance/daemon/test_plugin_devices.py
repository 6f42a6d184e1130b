"""Devices of plugins: named once, told to the router while they are open."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from appliance.api.values import PacketDevice
from appliance.daemon.plugin_devices import DEVICE_MTU, PluginDevices
from appliance.ports.packets import MemoryTunPort
from appliance.types.errors import ApplianceError, ConfigError
from appliance.types.packets import TunPacket

WANTED = PacketDevice("waypost-x", ("192.0.2.0/24",), ("198.18.0.0/18",))


@pytest.fixture
def devices() -> PluginDevices:
    return PluginDevices(MemoryTunPort, "waypost0")


def test_ok__open_until_closed(devices: PluginDevices) -> None:
    changes: list[int] = []
    devices.changed = lambda: changes.append(len(devices.devices))
    port = devices.open("router", WANTED)
    (device,) = devices.devices
    assert (device.name, device.routes) == ("waypost-x", (ip_network("192.0.2.0/24"),))
    assert device.masqueraded == (ip_network("198.18.0.0/18"),)
    assert (port.name, port.mtu) == ("waypost-x", DEVICE_MTU)
    port.set_reader(None)
    port.send([TunPacket(b"packet")])
    assert port.receive() == []
    port.close()
    port.close()
    assert changes == [1, 0]
    assert devices.open("router", WANTED).name == "waypost-x"
    assert devices.devices[0].serial != device.serial, "the kernel forgot its routes"


def test_fail__a_name_that_another_plugin_has(devices: PluginDevices) -> None:
    devices.open("router", WANTED)
    with pytest.raises(ApplianceError, match="by plugin router") as caught:
        devices.open("other", WANTED)
    assert caught.value.code == "device-taken"


@pytest.mark.parametrize("name", ["waypost0", "eth0", "waypost-much-too-long", "waypost%d", "waypost/x", ""])
def test_fail__names_that_cannot_be(devices: PluginDevices, name: str) -> None:
    with pytest.raises(ConfigError, match="network device"):
        devices.open("router", PacketDevice(name))


def test_fail__routes_that_are_none(devices: PluginDevices) -> None:
    with pytest.raises(ConfigError, match="cannot have that route"):
        devices.open("router", PacketDevice("waypost-x", ("192.0.2.1/24",)))
    assert devices.devices == ()
