"""`ExitDatagrams` on Linux: sockets that the firewall's tproxy hands datagrams for anybody to (ip(7), IP_TRANSPARENT).

IP_RECVORIGDSTADDR tells whom a datagram was for. Answers leave by raw sockets with the far side's address and port as
their source, whatever program of this host holds that port; the kernel cuts them to the tunnel's size.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address

from appliance.drivers.loop_reader import LoopReader
from appliance.drivers.packet_filter import attach_filter
from appliance.drivers.socket_options import IP_PKTINFO, IPV6_PKTINFO, MAX_DATAGRAM, PKTINFO
from appliance.drivers.sockets import OpenSocket, open_socket, transparent
from appliance.drivers.udp import enlarge_buffers
from appliance.drivers.udp_packets import udp_datagram
from appliance.ports.exit_datagrams import TakenDatagram
from appliance.types.addresses import AddrPort, addr_port_from
from appliance.types.errors import UnderlayError

_IP_ORIGDSTADDR, _IPV6_ORIGDSTADDR = 20, 74
_REFUSE_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0)
"""One BPF instruction: return 0, so that a raw socket gets no copies of what comes to this host."""
_PORT = struct.Struct("=2xH")
_MAX_PAYLOAD = MAX_DATAGRAM - 8
_CONTROL_BYTES = socket.CMSG_SPACE(28)
_TRIES = 8
_LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


class LinuxExitDatagrams:
    """`sockets` are of the network that the tunnel is in. Raises `UnderlayError`."""

    def __init__(self, sockets: OpenSocket = open_socket) -> None:
        self._taking: list[socket.socket] = []
        self._raw: dict[bool, socket.socket] = {}
        self._reader = LoopReader()
        made = transparent(sockets)
        try:
            self._taking = _taking(made)
            for family in _LOOPBACK:
                self._raw[family == socket.AF_INET6] = raw = made(
                    family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_UDP
                )
                attach_filter(raw, _REFUSE_ALL)
        except OSError as error:
            self.close()
            raise UnderlayError(f"cannot take UDP of an exit's users: {error.strerror}") from error
        self._reader = LoopReader(*self._taking)

    @property
    def port(self) -> int:
        return int(self._taking[0].getsockname()[1])

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        self._reader.set(callback)

    def receive(self, limit: int = 64) -> list[TakenDatagram]:
        found: list[TakenDatagram] = []
        for sock in self._taking:
            for _ in range(limit):
                try:
                    payload, control, _, source = sock.recvmsg(MAX_DATAGRAM, _CONTROL_BYTES)
                except (BlockingIOError, InterruptedError):
                    break
                if (goal := _goal(control)) is not None:
                    found.append(TakenDatagram(AddrPort(*source[:2]), goal, payload))
        return found

    def answer(self, source: AddrPort, user: AddrPort, payload: bytes) -> bool:
        if source.is_v6 != user.is_v6 or len(payload) > _MAX_PAYLOAD:
            return False
        packed = ip_address(source.ip).packed
        if source.is_v6:
            info = (socket.IPPROTO_IPV6, IPV6_PKTINFO, packed + bytes(4))
        else:
            info = (socket.IPPROTO_IP, IP_PKTINFO, PKTINFO.pack(0, packed, bytes(4)))
        try:
            self._raw[source.is_v6].sendmsg([udp_datagram(source, user, payload)], [info], 0, (user.ip, 0))
        except OSError:  # a full buffer, too long, a user who is gone: lost, as on any network
            return False
        return True

    def close(self) -> None:
        self._reader.set(None)
        for sock in (*self._taking, *self._raw.values()):
            sock.close()


def _taking(made: OpenSocket) -> list[socket.socket]:
    """One per IP version, on one port. Raises OSError."""
    for left in reversed(range(_TRIES)):
        found: list[socket.socket] = []
        port = 0
        try:
            for family, host in _LOOPBACK.items():
                sock = made(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                found.append(sock)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_ORIGDSTADDR, 1)
                else:
                    sock.setsockopt(socket.IPPROTO_IP, _IP_ORIGDSTADDR, 1)
                enlarge_buffers(sock)
                sock.bind((host, port))
                port = sock.getsockname()[1]
        except OSError:
            for sock in found:
                sock.close()
            if not port or not left:  # else the port is taken in IPv6: another one
                raise
        else:
            return found
    raise AssertionError


def _goal(control: list[tuple[int, int, bytes]]) -> AddrPort | None:
    """From a sockaddr_in or sockaddr_in6: family, port (big-endian), IPv6's flow label, address."""
    for level, kind, data in control:
        if (level, kind) == (socket.IPPROTO_IP, _IP_ORIGDSTADDR) and len(data) >= 8:
            address = ip_address(data[4:8])
        elif (level, kind) == (socket.IPPROTO_IPV6, _IPV6_ORIGDSTADDR) and len(data) >= 24:
            address = ip_address(data[8:24])
        else:
            continue
        return addr_port_from(address, socket.ntohs(_PORT.unpack_from(data)[0]))
    return None
