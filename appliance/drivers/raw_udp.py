"""`CopyPort` on Linux: raw sockets beside a UDP port that is another's (magicsock-disco spec 6.3, 6.4; raw(7)).

They get a copy of what comes to the port and is not WireGuard, chosen by the kernel before it wakes anybody, and they
send from that port. What the host's firewall drops on arrival comes to neither.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Sequence

from appliance.drivers.loop_reader import LoopReader
from appliance.drivers.packet_filter import attach_filter
from appliance.drivers.socket_options import FULL, IP_PKTINFO, MAX_DATAGRAM, PKTINFO
from appliance.drivers.sockets import OpenSocket, marking, open_socket
from appliance.drivers.source_addresses import SourceAddresses
from appliance.drivers.udp import enlarge_buffers, unfragmented
from appliance.drivers.udp_packets import parse_datagram, udp_datagram
from appliance.ports.packets import Segments, one
from appliance.proto.disco.socket_filter import port_filter
from appliance.types.addresses import AddrPort
from appliance.types.errors import PrivilegeError, UnderlayError
from appliance.types.packets import Buffer

_IPV6_CHECKSUM = 7
_CHECKSUM_AT = 6
_DRAIN = 1024
_ABSENT = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class RawUdpPort:
    """One raw socket. `ignored` are numbers of interfaces; `dropped` counts packets that a full buffer refused."""

    def __init__(self, sock: socket.socket, port: int, ignored: Sequence[int], sources: SourceAddresses) -> None:
        self._socket = sock
        self._version = 6 if sock.family == socket.AF_INET6 else 4
        self._port = port
        self._ignored = ignored
        self._sources = sources
        self._reader = LoopReader(self._socket)
        self.dropped = 0
        if self._version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_CHECKSUM, _CHECKSUM_AT)
        self.move(port)

    @property
    def local(self) -> AddrPort:
        return AddrPort("::" if self._version == 6 else "0.0.0.0", self._port)  # noqa: S104  # an underlay port

    def move(self, port: int) -> None:
        attach_filter(self._socket, port_filter(self._version, port, self._ignored))
        self._port = port
        for _ in range(_DRAIN):  # what came before the filter
            try:
                self._socket.recv(1)
            except OSError:
                break

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        self._reader.set(callback)

    def receive(self, limit: int = 64) -> list[tuple[AddrPort, Segments]]:
        batches: list[tuple[AddrPort, Segments]] = []
        for _ in range(limit):
            try:
                packet, source = self._socket.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                break
            except (ConnectionRefusedError, InterruptedError):
                continue
            found = parse_datagram(packet, (packet[0] & 15) * 4 if self._version == 4 and packet else 0)
            if found is not None and found[1] == self._port and found[2]:
                batches.append((AddrPort(source[0], found[0]), one(found[2])))
        return batches

    def send(self, to: AddrPort, batch: Segments) -> None:
        for packet in batch:
            try:
                self._send_one(to, bytes(packet))
            except OSError as error:
                if error.errno not in FULL:
                    raise
                self.dropped += 1

    def send_whole(self, to: AddrPort, packet: Buffer) -> None:
        with unfragmented(self._socket):
            self.send(to, one(packet))

    def _send_one(self, to: AddrPort, packet: bytes) -> None:
        """IPv4: the checksum covers the source, so it is chosen here. IPv6: the kernel does both."""
        if self._version == 6:
            header = struct.pack(">HHHH", self._port, to.port, 8 + len(packet), 0)
            self._socket.sendto(header + packet, (to.ip, 0))
            return
        source = self._sources.toward(to.ip)
        info = PKTINFO.pack(0, socket.inet_aton(source), bytes(4))
        datagram = udp_datagram(AddrPort(source, self._port), to, packet)
        self._socket.sendmsg((datagram,), [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, (to.ip, 0))

    def close(self) -> None:
        self.set_reader(None)
        self._socket.close()


def open_raw_udp_ports(
    port: int, *, mark: int = 0, ignored: Sequence[str] = (), sockets: OpenSocket = open_socket
) -> Sequence[RawUdpPort]:
    """For IPv4 and IPv6, as far as the kernel has them. `ignored` names interfaces that nothing is taken from.

    Raises `PrivilegeError`, `UnderlayError`.
    """
    made: list[RawUdpPort] = []
    try:
        numbers = [socket.if_nametoindex(name) for name in ignored]
        marked = marking(mark, sockets)
        sources = SourceAddresses(marked)
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                made.append(_open(family, port, numbers, sources, marked))
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
    except OSError as error:
        for each in made:
            each.close()
        if error.errno in (errno.EPERM, errno.EACCES):
            raise PrivilegeError("may not open raw sockets", mend="run as root, or with CAP_NET_RAW") from error
        raise UnderlayError(f"cannot open raw sockets beside UDP port {port}: {error.strerror}") from error
    return made


def _open(
    family: socket.AddressFamily,
    port: int,
    ignored: Sequence[int],
    sources: SourceAddresses,
    sockets: OpenSocket,
) -> RawUdpPort:
    sock = sockets(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_UDP)
    try:
        enlarge_buffers(sock)
        return RawUdpPort(sock, port, ignored, sources)
    except BaseException:
        sock.close()
        raise
