"""The WireGuard port on Linux: non-blocking UDP sockets with segmentation offload both ways (udp(7)).

Sending many equal packets is one call with UDP_SEGMENT; a kernel or device that refuses it (EIO, EINVAL) gets them
one by one from then on. UDP_GRO gives received packets back in the same form.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Callable, Iterator, Sequence

from appliance.drivers.loop_reader import LoopReader
from appliance.drivers.socket_options import (
    ENOUGH_BYTES,
    FULL,
    MAX_DATAGRAM,
    MAX_SEGMENTS,
    SO_RCVBUFFORCE,
    SO_SNDBUFFORCE,
    SOL_UDP,
    UDP_GRO,
    UDP_SEGMENT,
)
from appliance.drivers.sockets import marking
from appliance.ports.packets import Segments
from appliance.types.addresses import AddrPort
from appliance.types.errors import PrivilegeError, UnderlayError
from appliance.types.packets import Buffer

_BUFFER_BYTES = 7 << 20
_MAX_SEGMENTED = 65000
_SMALL = 8192
_MTU_DISCOVER = {socket.AF_INET: (socket.IPPROTO_IP, 10), socket.AF_INET6: (socket.IPPROTO_IPV6, 23)}
"""IP_MTU_DISCOVER and IPV6_MTU_DISCOVER (ip(7), ipv6(7))."""
_PMTUDISC_PROBE = 3
"""Don't fragment, and do not heed what the kernel learned of the way: the way is being measured."""
_CONTROL_BYTES = socket.CMSG_SPACE(4)


class LinuxUdpPort:
    """One bound socket. `dropped` counts segments that a full socket buffer refused."""

    def __init__(self, sock: socket.socket, *, offload: bool = True) -> None:
        self._socket = sock
        name = sock.getsockname()
        self._local = AddrPort(name[0], name[1])
        self._reader = LoopReader(self._socket)
        # Used again by the next call: fresh memory of this size for each batch costs more than receiving it.
        self._buffers: list[bytearray] = []
        self._segmenting = offload
        self.dropped = 0
        if offload:
            with contextlib.suppress(OSError):
                sock.setsockopt(SOL_UDP, UDP_GRO, 1)

    @property
    def local(self) -> AddrPort:
        return self._local

    @property
    def segmenting(self) -> bool:
        """Whether batches still go out by UDP_SEGMENT."""
        return self._segmenting

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        self._reader.set(callback)

    def receive(self, limit: int = 64) -> list[tuple[AddrPort, Segments]]:
        batches: list[tuple[AddrPort, Segments]] = []
        used, room = 0, ENOUGH_BYTES
        for _ in range(limit):
            if used == len(self._buffers):
                self._buffers.append(bytearray(MAX_DATAGRAM))
            buffer = self._buffers[used]
            try:
                size, control, _, source = self._socket.recvmsg_into((buffer,), _CONTROL_BYTES)
            except BlockingIOError:
                break
            except (ConnectionRefusedError, ConnectionResetError, InterruptedError):
                continue
            if size:
                used += size > _SMALL
                data = memoryview(buffer)[:size] if size > _SMALL else buffer[:size]
                batches.append((AddrPort(source[0], source[1]), Segments(data, _gro_size(control) or size)))
            room -= size
            if room <= 0:
                break
        return batches

    def send(self, to: AddrPort, batch: Segments) -> None:
        if not batch.buffer:
            return
        view = memoryview(batch.buffer)
        if len(view) <= batch.size:
            self._send_one(view, to)
            return
        step = batch.size * max(1, min(MAX_SEGMENTS, _MAX_SEGMENTED // batch.size))
        for start in range(0, len(view), step):
            self._send_many(view[start : start + step], batch.size, to)

    def send_whole(self, to: AddrPort, packet: Buffer) -> None:
        with unfragmented(self._socket):
            self._send_one(memoryview(packet), to)

    def _send_many(self, view: memoryview, size: int, to: AddrPort) -> None:
        if self._segmenting and len(view) > size:
            control = [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", size))]
            try:
                self._socket.sendmsg((view,), control, 0, to)
                return
            except OSError as error:
                if error.errno in FULL:
                    self.dropped += -(-len(view) // size)
                    return
                if error.errno not in (errno.EIO, errno.EINVAL):
                    raise
                self._segmenting = False
        for start in range(0, len(view), size):
            self._send_one(view[start : start + size], to)

    def _send_one(self, packet: memoryview, to: AddrPort) -> None:
        try:
            self._socket.sendto(packet, to)
        except OSError as error:
            if error.errno not in FULL:
                raise
            self.dropped += 1

    def close(self) -> None:
        self.set_reader(None)
        self._socket.close()


def _gro_size(control: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in control:
        if level == SOL_UDP and kind == UDP_GRO and len(data) >= 4:
            return int(struct.unpack_from("=i", data)[0])
    return 0


@contextlib.contextmanager
def unfragmented(sock: socket.socket) -> Iterator[None]:
    """What is sent meanwhile may not be fragmented; sending raises OSError (EMSGSIZE) beyond the size of the device."""
    level, option = _MTU_DISCOVER[sock.family]
    usual = sock.getsockopt(level, option)
    sock.setsockopt(level, option, _PMTUDISC_PROBE)
    try:
        yield
    finally:
        sock.setsockopt(level, option, usual)


def enlarge_buffers(sock: socket.socket) -> None:
    """7 MiB each way, or as much as the kernel lets us have."""
    _big_buffer(sock, SO_RCVBUFFORCE, socket.SO_RCVBUF)
    _big_buffer(sock, SO_SNDBUFFORCE, socket.SO_SNDBUF)


def _big_buffer(sock: socket.socket, force: int, plain: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, _BUFFER_BYTES)
    except OSError:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, plain, _BUFFER_BYTES)


def _bind(family: socket.AddressFamily, host: str, port: int, mark: int) -> socket.socket:
    sock = marking(mark)(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        enlarge_buffers(sock)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_both(port: int, mark: int) -> list[socket.socket]:
    """IPv4 and IPv6 on one port; an IP version that the kernel does not have is left out."""
    socks: list[socket.socket] = []
    try:
        for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104  # an underlay port
            try:
                socks.append(_bind(family, host, port or (socks[0].getsockname()[1] if socks else 0), mark))
            except OSError as error:
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    raise
    except OSError:
        for sock in socks:
            sock.close()
        raise
    return socks


def open_udp_ports(port: int, *, mark: int = 0, offload: bool = True, tries: int = 8) -> Sequence[LinuxUdpPort]:
    """Bind the port (0: any that is free for both) for IPv4 and IPv6. `mark` is SO_MARK, 0 none.

    Raises `UnderlayError` when the port is taken, `PrivilegeError` when the kernel forbids it.
    """
    for attempt in range(tries):
        try:
            socks = _bind_both(port, mark)
        except PermissionError as error:
            raise PrivilegeError(
                f"may not open UDP port {port}: {error.strerror}", mend="run as root, or with CAP_NET_ADMIN"
            ) from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE and port == 0 and attempt + 1 < tries:
                continue
            raise _refused(port, error) from error
        if socks:
            return [LinuxUdpPort(sock, offload=offload) for sock in socks]
        break
    raise UnderlayError("this machine has neither IPv4 nor IPv6", mend="enable one of them in the kernel")


def open_udp_through(interface: str, *, mark: int = 0) -> LinuxUdpPort:
    """An IPv4 socket on any port whose packets leave and arrive by one interface only. Raises `UnderlayError`."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        enlarge_buffers(sock)
        sock.bind(("0.0.0.0", 0))  # noqa: S104  # bound to the interface instead
    except OSError as error:
        sock.close()
        raise UnderlayError(f"cannot send through {interface}: {error.strerror}") from error
    return LinuxUdpPort(sock, offload=False)


def _refused(port: int, error: OSError) -> UnderlayError:
    if error.errno == errno.EADDRINUSE:
        return UnderlayError(
            f"UDP port {port} is taken by another program",
            mend="stop that program, or set another port (0 takes any free one)",
            code="port_taken",
        )
    return UnderlayError(f"cannot open UDP port {port}: {error.strerror}", mend="check the network configuration")
