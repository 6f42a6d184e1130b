"""The TUN device on Linux, with segmentation offload through virtio_net_hdr (tuntap.rst, virtio 1.2 section 5.1.6).

Makes the interface and its MTU only: addresses, routes and the up flag are the router's work.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.drivers.loop_reader import LoopReader
from appliance.drivers.privileges import TUN_DEVICE
from appliance.drivers.socket_options import ENOUGH_BYTES, FULL
from appliance.drivers.sockets import OpenSocket, open_socket
from appliance.types.errors import PrivilegeError, UnderlayError
from appliance.types.packets import TunPacket

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_SIOCSIFMTU = 0x8922
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_F_CSUM = 0x01
_F_TSO4 = 0x02
_F_TSO6 = 0x04
_F_USO4 = 0x20
_F_USO6 = 0x40
_OFFLOADS = (_F_CSUM | _F_TSO4 | _F_TSO6 | _F_USO4 | _F_USO6, _F_CSUM | _F_TSO4 | _F_TSO6)
_IFREQ_FLAGS = struct.Struct("16sH22x")
_IFREQ_MTU = struct.Struct("16si20x")
_VNET = struct.Struct("=BBHHHH")
_NEEDS_CSUM = 1
_MAX_PACKET = 65535


class LinuxTunPort:
    """An open device. `dropped` counts packets that a full queue refused."""

    def __init__(self, fd: int, name: str, mtu: int, *, vnet: bool) -> None:
        self._fd = fd
        self._name = name
        self._mtu = mtu
        self._header = _VNET.size if vnet else 0
        self._reader = LoopReader(self._fd)
        # Used again by the next call: fresh memory of this size for each packet costs more than reading it.
        self._buffers: list[bytearray] = []
        self.dropped = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def mtu(self) -> int:
        return self._mtu

    @property
    def offloading(self) -> bool:
        return self._header > 0

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        self._reader.set(callback)

    def receive(self, limit: int = 64) -> list[TunPacket]:
        packets: list[TunPacket] = []
        room = ENOUGH_BYTES
        for number in range(limit):
            if number == len(self._buffers):
                self._buffers.append(bytearray(self._header + _MAX_PACKET))
            raw = self._buffers[number]
            try:
                size = os.readv(self._fd, (raw,))
            except (BlockingIOError, InterruptedError):
                break
            if size > self._header:
                packets.append(self._parse(raw, size))
            room -= size
            if room <= 0:
                break
        return packets

    def _parse(self, raw: bytearray, size: int) -> TunPacket:
        data = memoryview(raw)[self._header : size]
        if not self._header:
            return TunPacket(data)
        flags, gso_type, header_bytes, gso_size, csum_start, csum_offset = _VNET.unpack_from(raw)
        if not gso_type and not flags & _NEEDS_CSUM:
            return TunPacket(data)
        return TunPacket(
            data,
            gso_type,
            gso_size if gso_type else 0,
            header_bytes,
            csum_start,
            csum_offset,
            bool(flags & _NEEDS_CSUM),
        )

    def send(self, packets: Sequence[TunPacket]) -> None:
        """One refused packet does not keep the others back; the first refusal is raised after all were tried."""
        refused: OSError | None = None
        for packet in packets:
            try:
                self._write(packet)
            except OSError as error:
                if error.errno in FULL:
                    self.dropped += 1
                else:
                    refused = refused or error
        if refused is not None:
            raise refused

    def _write(self, packet: TunPacket) -> None:
        if not self._header:
            if packet.gso_size or packet.needs_checksum:
                raise OSError(errno.EOPNOTSUPP, "the TUN device takes whole packets only")
            os.write(self._fd, packet.data)
            return
        header = _VNET.pack(
            _NEEDS_CSUM if packet.needs_checksum else 0,
            packet.gso_type,
            packet.header_bytes,
            packet.gso_size,
            packet.csum_start,
            packet.csum_offset,
        )
        os.writev(self._fd, (header, packet.data))

    def close(self) -> None:
        self.set_reader(None)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_device(path: Path = TUN_DEVICE) -> int:
    """A descriptor of the TUN device, in the network namespace of the calling thread. Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def _opened(opener: Callable[[], int]) -> int:
    try:
        return opener()
    except (FileNotFoundError, OSError) as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            raise PrivilegeError(
                f"{TUN_DEVICE} is missing", mend="run `modprobe tun`, or pass the device to the container"
            ) from error
        raise PrivilegeError(
            f"may not open {TUN_DEVICE}: {error.strerror}",
            mend=f"run as root, or chmod 666 {TUN_DEVICE}, as udev does",
        ) from error


def _create(fd: int, name: str, flags: int) -> str:
    request = fcntl.ioctl(fd, _TUNSETIFF, _IFREQ_FLAGS.pack(name.encode(), flags))
    return request[:16].rstrip(b"\0").decode()


def _grant_offloads(fd: int) -> bool:
    for offloads in _OFFLOADS:
        try:
            fcntl.ioctl(fd, _TUNSETOFFLOAD, offloads)
        except OSError:
            continue
        return True
    return False


def _set_mtu(name: str, mtu: int, opener: OpenSocket) -> None:
    with opener(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFMTU, _IFREQ_MTU.pack(name.encode(), mtu))


def _interface_error(name: str, error: OSError) -> UnderlayError | PrivilegeError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return PrivilegeError(f"may not create the tunnel interface {name}", mend="run as root, or with CAP_NET_ADMIN")
    if error.errno == errno.EBUSY:
        return UnderlayError(
            f"the tunnel interface {name} is used by another program", mend="stop that program, or set another name"
        )
    return UnderlayError(f"cannot create the tunnel interface {name}: {error.strerror}", mend="check its name and MTU")


def open_tun(
    name: str = "waypost0",
    mtu: int = 1280,
    *,
    offload: bool = True,
    device: Callable[[], int] = open_device,
    sockets: OpenSocket = open_socket,
) -> LinuxTunPort:
    """Create the interface; it vanishes with `close`. `%d` in the name lets the kernel count.

    It is made in the network of what `device` opens; `sockets` are of the same network.

    Raises `PrivilegeError` (no device, not allowed) or `UnderlayError` (name taken, bad MTU).
    """
    if not name or len(name.encode()) > 15:
        raise UnderlayError(f"bad interface name {name!r}", mend="use 1 to 15 characters")
    fd = _opened(device)
    try:
        vnet = offload
        try:
            actual = _create(fd, name, _IFF_TUN | _IFF_NO_PI | (_IFF_VNET_HDR if offload else 0))
        except OSError as error:
            if not offload or error.errno != errno.EINVAL:
                raise
            vnet, actual = False, _create(fd, name, _IFF_TUN | _IFF_NO_PI)
        if vnet:
            _grant_offloads(fd)
        _set_mtu(actual, mtu, sockets)
    except OSError as error:
        os.close(fd)
        raise _interface_error(name, error) from error
    return LinuxTunPort(fd, actual, mtu, vnet=vnet)
