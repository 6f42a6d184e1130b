"""`LoopbackPort` and `MeshPort` on Linux: packets given to the WireGuard device and taken from it on this host.

One UDP socket on `lo` stands for every address of 127.64.0.0/10: IP_PKTINFO names the address that a packet was sent
to, and chooses the one that it leaves from (ip(7)). A packet with the source of a far host is written whole to a raw
socket; both IP versions take it when it stays on `lo`.

The device answers from the address that a packet was sent to. With IPv4 it sees that the answer leaves by another
interface than `lo` and chooses anew; with IPv6 it would answer from ::1, which goes nowhere. So there the packet goes
to the address that this host uses toward the far one.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from appliance.drivers.loop_reader import LoopReader
from appliance.drivers.socket_options import (
    FULL,
    IP_PKTINFO,
    IPV6_PKTINFO,
    MAX_DATAGRAM,
    MAX_SEGMENTS,
    PKTINFO,
    SOL_UDP,
    UDP_SEGMENT,
)
from appliance.drivers.sockets import OpenSocket, marking, open_socket
from appliance.drivers.source_addresses import SourceAddresses
from appliance.drivers.udp import enlarge_buffers
from appliance.drivers.udp_packets import ip_packet
from appliance.proto.tsmp import PROTOCOL as TSMP
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError

FIRST = 0x7F400000
"""127.64.0.0, the address of index 0."""
LAST_INDEX = (1 << 22) - 1
_IPV6_RECVPKTINFO, _IPV6_HDRINCL = 49, 36
_CONTROL_BYTES = socket.CMSG_SPACE(PKTINFO.size)
_MAX_BATCH = 60_000
_IPV6_LIST = Path("/proc/net/if_inet6")
"""Only where the kernel has IPv6."""
_HOME = {4: "127.0.0.1", 6: "::1"}


class LinuxLoopbackPort:
    """`dropped` counts packets that a full buffer refused. `mark`: of packets past the tunnel (SO_MARK), 0 none.

    `sockets` are of the network that the device is in.
    """

    def __init__(self, mark: int = 0, sockets: OpenSocket = open_socket) -> None:
        self._homes = SourceAddresses(marking(mark, sockets))
        self._socket = sockets(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._raw: dict[int, socket.socket] = {}
        self._reader = LoopReader()
        self.dropped = 0
        try:
            self._socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
            enlarge_buffers(self._socket)
            self._socket.bind(("0.0.0.0", 0))  # noqa: S104  # bound to lo
            self._raw[4] = _raw_socket(socket.AF_INET, sockets)
            if _IPV6_LIST.exists():
                self._raw[6] = _raw_socket(socket.AF_INET6, sockets)
                self._raw[6].setsockopt(socket.IPPROTO_IPV6, _IPV6_HDRINCL, 1)
        except OSError as error:
            self.close()
            raise UnderlayError(f"cannot open the sockets of the kernel engine: {error.strerror}") from error
        self._reader = LoopReader(self._socket)
        self._port = int(self._socket.getsockname()[1])

    @property
    def port(self) -> int:
        return self._port

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        self._reader.set(callback)

    def receive(self, limit: int = 64) -> Sequence[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        for _ in range(limit):
            try:
                packet, control, _, _ = self._socket.recvmsg(MAX_DATAGRAM, _CONTROL_BYTES)
            except BlockingIOError:
                break
            except (ConnectionRefusedError, InterruptedError):
                continue
            index = _destination(control)
            if 0 <= index <= LAST_INDEX:
                found.append((index, packet))
        return found

    def send(self, index: int, packets: Sequence[bytes], to_port: int) -> None:
        source = (FIRST + index).to_bytes(4, "big")
        info = (socket.IPPROTO_IP, IP_PKTINFO, PKTINFO.pack(0, source, bytes(4)))
        for run in runs(packets):
            control = [info]
            if len(run) > 1:
                control.append((SOL_UDP, UDP_SEGMENT, struct.pack("=H", len(run[0]))))
            try:
                self._socket.sendmsg(run, control, 0, (_HOME[4], to_port))
            except OSError as error:
                if error.errno not in FULL:
                    raise
                self.dropped += len(run)

    def send_as(self, source: AddrPort, packets: Sequence[bytes], to_port: int) -> None:
        version = 6 if source.is_v6 else 4
        if version not in self._raw:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6 on this host")
        home = self._home_toward(source.ip) if source.is_v6 else _HOME[4]
        for packet in packets:
            try:
                self._raw[version].sendto(ip_packet(source, AddrPort(home, to_port), packet), (home, 0))
            except OSError as error:
                if error.errno not in FULL:
                    raise
                self.dropped += 1

    def _home_toward(self, far: str) -> str:
        """The address from which this host sends there; ::1 where there is no route."""
        try:
            return self._homes.toward(far)
        except OSError:
            return _HOME[6]

    def close(self) -> None:
        self._reader.set(None)
        self._socket.close()
        for sock in self._raw.values():
            sock.close()


def runs(packets: Sequence[bytes]) -> Iterable[list[bytes]]:
    """Packets in runs that one call can send: equal lengths, the last of a run may be shorter."""
    run: list[bytes] = []
    size = 0
    for packet in packets:
        ends = run and (len(run[-1]) != len(run[0]) or len(packet) > len(run[0]))
        if ends or len(run) == MAX_SEGMENTS or size + len(packet) > _MAX_BATCH:
            yield run
            run, size = [], 0
        run.append(packet)
        size += len(packet)
    if run:
        yield run


def _raw_socket(family: socket.AddressFamily, sockets: OpenSocket = open_socket) -> socket.socket:
    """Sends whole packets and receives nothing."""
    return sockets(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)


def _destination(control: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in control:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO and len(data) >= PKTINFO.size:
            return int.from_bytes(PKTINFO.unpack_from(data)[2], "big") - FIRST
    return -1


class LinuxMeshPort:
    """Raw sockets of IP protocol 99 (TSMP), bound to the tunnel device."""

    def __init__(self, interface: str) -> None:
        self._in: list[socket.socket] = []
        self._out: dict[int, socket.socket] = {}
        self._reader = LoopReader()
        name = interface.encode() + b"\0"
        try:
            for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
                if version == 6 and not _IPV6_LIST.exists():
                    continue
                arriving = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, TSMP)
                self._in.append(arriving)
                self._out[version] = _raw_socket(family)
                for sock in (arriving, self._out[version]):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
                if version == 6:
                    arriving.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
                    self._out[6].setsockopt(socket.IPPROTO_IPV6, _IPV6_HDRINCL, 1)
        except OSError as error:
            self.close()
            raise UnderlayError(f"cannot open raw sockets on {interface}: {error.strerror}") from error
        self._reader = LoopReader(*self._in)

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        self._reader.set(callback)

    def receive(self, limit: int = 64) -> Sequence[bytes]:
        found: list[bytes] = []
        for sock in self._in:
            for _ in range(limit):
                try:
                    packet, control, _, source = sock.recvmsg(MAX_DATAGRAM, socket.CMSG_SPACE(20))
                except (BlockingIOError, InterruptedError):
                    break
                found.append(packet if sock.family == socket.AF_INET else _with_header(packet, control, source[0]))
        return found

    def send(self, packet: bytes) -> None:
        version = packet[0] >> 4 if packet else 0
        sock = self._out.get(version)
        if sock is None or len(packet) < (20 if version == 4 else 40):
            raise OSError(errno.EAFNOSUPPORT, "no socket for this packet")
        to = socket.inet_ntop(sock.family, packet[16:20] if version == 4 else packet[24:40])
        sock.sendto(packet, (to, 0))

    def close(self) -> None:
        self._reader.set(None)
        for sock in (*self._in, *self._out.values()):
            sock.close()


def _with_header(payload: bytes, control: list[tuple[int, int, bytes]], source: str) -> bytes:
    """Raw sockets of IPv6 give no header: make it again."""
    to = next(
        (data[:16] for level, kind, data in control if (level, kind) == (socket.IPPROTO_IPV6, IPV6_PKTINFO)), bytes(16)
    )
    origin = socket.inet_pton(socket.AF_INET6, source.partition("%")[0])
    return struct.pack(">IHBB", 0x60000000, len(payload), TSMP, 64) + origin + to + payload
