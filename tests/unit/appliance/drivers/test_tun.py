"""The TUN driver: framing over a socket pair, a real device where this user may make one."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.drivers import tun
from appliance.drivers.privileges import TUN_DEVICE, Capability, effective_capabilities
from appliance.drivers.tun import LinuxTunPort, open_device, open_tun
from appliance.types.errors import PrivilegeError, UnderlayError
from appliance.types.packets import TunPacket

VNET = struct.Struct("=BBHHHH")
may_make_devices = pytest.mark.skipif(
    Capability.NET_ADMIN not in effective_capabilities() or not os.access(TUN_DEVICE, os.R_OK | os.W_OK),
    reason="needs CAP_NET_ADMIN and /dev/net/tun",
)


@pytest.fixture
def pair() -> Iterator[tuple[LinuxTunPort, socket.socket]]:
    """A port whose device is one end of a socket pair."""
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    port = LinuxTunPort(ours.detach(), "tun9", 1280, vnet=True)
    yield port, kernel
    port.close()
    kernel.close()


def test_ok__receives_plain_and_super_packets(pair: tuple[LinuxTunPort, socket.socket]) -> None:
    port, kernel = pair
    kernel.send(VNET.pack(0, 0, 0, 0, 0, 0) + b"plain")
    kernel.send(VNET.pack(1, 1, 40, 1240, 20, 16) + b"super")
    kernel.send(VNET.pack(1, 0, 0, 0, 20, 6) + b"sum")
    kernel.send(VNET.pack(2, 0, 0, 0, 0, 0))
    packets = port.receive()
    assert [bytes(packet.data) for packet in packets] == [b"plain", b"super", b"sum"]
    assert packets[0] == TunPacket(packets[0].data)
    assert packets[1] == TunPacket(packets[1].data, 1, 1240, 40, 20, 16, True)
    assert packets[2] == TunPacket(packets[2].data, 0, 0, 0, 20, 6, True)
    assert port.receive() == []


def test_ok__the_limit_holds(pair: tuple[LinuxTunPort, socket.socket]) -> None:
    port, kernel = pair
    for _ in range(3):
        kernel.send(VNET.pack(0, 0, 0, 0, 0, 0) + b"x")
    assert len(port.receive(2)) == 2
    assert len(port.receive(2)) == 1


def test_ok__large_packets_are_read_a_few_at_a_time(pair: tuple[LinuxTunPort, socket.socket], monkeypatch) -> None:
    port, kernel = pair
    monkeypatch.setattr(tun, "ENOUGH_BYTES", 3000)
    for _ in range(5):
        kernel.send(VNET.pack(1, 1, 40, 1240, 20, 16) + bytes(1000))
    assert [len(port.receive()), len(port.receive())] == [3, 2]


def test_ok__sends_headers(pair: tuple[LinuxTunPort, socket.socket]) -> None:
    port, kernel = pair
    port.send([TunPacket(b"plain"), TunPacket(b"super", 4, 1220, 60, 40, 16, True)])
    assert kernel.recv(100) == VNET.pack(0, 0, 0, 0, 0, 0) + b"plain"
    assert kernel.recv(100) == VNET.pack(1, 4, 60, 1220, 40, 16) + b"super"


def test_ok__a_full_queue_drops(pair: tuple[LinuxTunPort, socket.socket]) -> None:
    port, _ = pair
    port.send([TunPacket(bytes(1000))] * 5000)
    assert port.dropped > 0


def test_fail__a_refused_packet_is_raised(pair: tuple[LinuxTunPort, socket.socket]) -> None:
    port, kernel = pair
    kernel.close()
    with pytest.raises(OSError):
        port.send([TunPacket(b"x")])


def test_fail__super_packets_need_offloads() -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    port = LinuxTunPort(ours.detach(), "tun9", 1280, vnet=False)
    with pytest.raises(OSError) as caught:
        port.send([TunPacket(b"x", gso_size=5), TunPacket(b"plain")])
    assert caught.value.errno == errno.EOPNOTSUPP
    assert kernel.recv(100) == b"plain"
    kernel.send(b"raw")
    assert port.receive(1) == [TunPacket(b"raw")]
    port.close()
    port.close()
    kernel.close()


async def test_ok__the_reader_is_called(pair: tuple[LinuxTunPort, socket.socket]) -> None:
    port, kernel = pair
    readable = asyncio.Event()
    port.set_reader(readable.set)
    kernel.send(VNET.pack(0, 0, 0, 0, 0, 0) + b"x")
    await readable.wait()
    port.set_reader(None)
    assert len(port.receive()) == 1


def test_fail__no_device(tmp_path: Path) -> None:
    with pytest.raises(PrivilegeError) as caught:
        open_tun(device=lambda: open_device(tmp_path / "tun"))
    assert "is missing" in caught.value.text
    assert "modprobe tun" in caught.value.mend


def test_fail__not_a_tun_device(tmp_path: Path) -> None:
    (tmp_path / "tun").write_bytes(b"")
    with pytest.raises(UnderlayError) as caught:
        open_tun(device=lambda: open_device(tmp_path / "tun"))
    assert "cannot create the tunnel interface waypost0" in caught.value.text


@pytest.mark.parametrize("name", ["", "x" * 16])
def test_fail__bad_name(name: str) -> None:
    with pytest.raises(UnderlayError):
        open_tun(name)


@may_make_devices
@pytest.mark.parametrize("offload", [True, False])
def test_ok__a_real_device(offload: bool) -> None:
    port = open_tun("wpwgt%d", 1300, offload=offload)
    try:
        assert port.name.startswith("wpwgt")
        assert port.offloading is offload
        assert (Path("/sys/class/net") / port.name / "mtu").read_text().strip() == "1300"
        assert port.receive() == []
        with pytest.raises(UnderlayError) as caught:
            open_tun(port.name)
        assert "used by another program" in caught.value.text
    finally:
        port.close()
    assert not (Path("/sys/class/net") / port.name).exists()


@may_make_devices
def test_fail__a_bad_mtu_leaves_no_device() -> None:
    with pytest.raises(UnderlayError):
        open_tun("wpwgmtu", 10)
    assert not Path("/sys/class/net/wpwgmtu").exists()
