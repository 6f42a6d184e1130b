"""What holds on every host; tests/qemu works with real devices."""

import os

import pytest

from appliance.drivers.wireguard_device import (
    DeviceInUseError,
    KernelLacksWireGuardError,
    NetlinkWireGuardDevice,
)
from appliance.types.errors import UnderlayError

NAME = f"wptest{os.getpid() % 100000}"


def test_ok__nothing_is_there() -> None:
    device = NetlinkWireGuardDevice(NAME, 1280)
    assert not device.exists()
    assert not device.remove_left()
    device.close()
    assert list(device.name) == list(NAME)


def test_fail__two_gateways_one_device() -> None:
    first, second = NetlinkWireGuardDevice(NAME, 1280), NetlinkWireGuardDevice(NAME, 1280)
    first._claim()
    with pytest.raises(DeviceInUseError, match=NAME):
        second.open(0, 0)
    first._release()
    second._claim()
    second._release()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs CAP_NET_ADMIN")
def test_ok__a_device_or_the_reason_why_not() -> None:
    device = NetlinkWireGuardDevice(NAME, 1280)
    refused = None
    try:
        assert device.open(0, 0) is False
        assert device.listen_port() > 0
    except KernelLacksWireGuardError as error:
        refused = error
    device.close()
    assert not device.exists()
    assert refused is None or (refused.text == "this kernel has no WireGuard" and "modprobe" in refused.mend)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs CAP_NET_ADMIN")
def test_fail__another_kind_of_interface_has_the_name() -> None:
    with pytest.raises(UnderlayError):
        NetlinkWireGuardDevice("lo", 1280).open(0, 0)
