"""`WireGuardDevice` on netlink: the device by rtnetlink, its peers by the generic family `wireguard`.

Two sockets: one for changes, each acknowledged at once (a fraction of a millisecond), one for readings of all peers,
which the event loop takes up part by part. Opened in the network namespace of the calling thread.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress

from appliance.drivers.interface_messages import DELETE_LINK, GET_LINK, NEW_LINK, link_payload, parse_kind
from appliance.drivers.netlink_channel import PART_BYTES, NetlinkChannel
from appliance.drivers.netlink_messages import (
    CREATE,
    DONE,
    DUMP,
    ERROR,
    EXCLUSIVE,
    attributes,
    messages,
    named,
)
from appliance.drivers.socket_options import SO_RCVBUFFORCE
from appliance.drivers.wireguard_messages import (
    GET_DEVICE,
    SET_DEVICE,
    VERSION,
    device_name,
    device_settings,
    parse_peers,
    parse_port,
    peers_attributes,
)
from appliance.ports.wireguard_device import DevicePeer, PeerSetting
from appliance.types.errors import DecodeError, PrivilegeError, UnderlayError
from appliance.types.keys import NodePrivateKey

_NETLINK_ROUTE, _NETLINK_GENERIC = 0, 16
_KIND = "wireguard"
_CONTROL, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 0x10, 3, 1, 2
_GENERIC = struct.Struct("=BBxx")
_RECEIVE_BUFFER = 1 << 20
_PARTS_AT_ONCE = 8
_LACKING = (errno.EOPNOTSUPP, errno.ENODEV, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENOENT)


class KernelLacksWireGuardError(UnderlayError):
    """The kernel has no WireGuard, not even as a module that it would load."""

    code = "no-kernel-wireguard"


class DeviceInUseError(UnderlayError):
    """Another process works with the device."""

    code = "device_in_use"


class NetlinkWireGuardDevice:
    """The device `name`; `mtu` is given to a new one."""

    def __init__(self, name: str, mtu: int) -> None:
        self._name = name
        self._mtu = mtu
        self._family = 0
        self._changes: NetlinkChannel | None = None
        self._readings: NetlinkChannel | None = None
        self._claimed: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._found: list[DevicePeer] = []
        self._done: Callable[[Sequence[DevicePeer]], None] | None = None

    @property
    def name(self) -> str:
        return self._name

    def open(self, port: int, mark: int) -> bool:
        """Keeps the port of a device that is there when `port` is 0."""
        made = False
        try:
            self._claim()
            found = self._make()
            made = not found
            self._changes = NetlinkChannel(_NETLINK_GENERIC)
            self._family = self._find_family()
            self._readings = NetlinkChannel(_NETLINK_GENERIC)
            self._readings.socket.setblocking(False)
            with suppress(OSError):
                self._readings.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _RECEIVE_BUFFER)
            if not found or (port and self.listen_port() != port):
                self._set(device_settings(port=port))
            self._set(device_settings(mark=mark))
            self._bring_up()
        except (OSError, DecodeError, DeviceInUseError) as error:
            self._release(delete=made)
            if isinstance(error, OSError):
                raise _explained(error, self._name, port) from error
            raise
        return found

    def _claim(self) -> None:
        """A WireGuard device has no owner: a name in this network namespace stands for that. Ends with the process."""
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0waypost.device.{self._name}")
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:
                raise
            raise DeviceInUseError(
                f"another gateway works with the interface {self._name}",
                mend="stop it, or set another tunnel.interface and port",
            ) from None
        self._claimed = claim

    def exists(self) -> bool:
        """Whether there is a WireGuard device of this name."""
        with closing(NetlinkChannel(_NETLINK_ROUTE)) as channel:
            try:
                return self._kind(channel) == _KIND
            except OSError:
                return False

    def remove_left(self) -> bool:
        """Remove the device that a killed process left; whether there was one. Raises `DeviceInUseError`."""
        if not self.exists():
            return False
        self._claim()
        self._release(delete=True)
        return True

    def _make(self) -> bool:
        """Whether it was there. Raises OSError; EEXIST when another kind of device has the name."""
        body = link_payload(name=self._name, mtu=self._mtu, kind=_KIND)
        with closing(NetlinkChannel(_NETLINK_ROUTE)) as channel:
            try:
                channel.request(NEW_LINK, body, CREATE | EXCLUSIVE)
            except FileExistsError:
                if self._kind(channel) != _KIND:
                    raise
                return True
        return False

    def _kind(self, channel: NetlinkChannel) -> str:
        return next(map(parse_kind, channel.request(GET_LINK, link_payload(name=self._name))), "")

    def _find_family(self) -> int:
        assert self._changes is not None
        body = _GENERIC.pack(_GET_FAMILY, 1) + named(_FAMILY_NAME, _KIND)
        for answer in self._changes.request(_CONTROL, body):
            found = dict(attributes(answer[_GENERIC.size :])).get(_FAMILY_ID)
            if found is not None:
                return int(struct.unpack_from("=H", found)[0])
        raise OSError(errno.ENOENT, "no WireGuard family")

    def _bring_up(self) -> None:
        with closing(NetlinkChannel(_NETLINK_ROUTE)) as channel:
            channel.request(NEW_LINK, link_payload(name=self._name, up=True))

    def listen_port(self) -> int:
        return max((parse_port(part) for part in self._read_now()), default=0)

    def set_listen_port(self, port: int) -> None:
        self._set(device_settings(port=port))

    def set_private_key(self, key: NodePrivateKey) -> None:
        self._set(device_settings(key=key))

    def set_peers(self, settings: Iterable[PeerSetting]) -> None:
        for made in peers_attributes(settings):
            self._set(made)

    def _set(self, made: bytes) -> None:
        if self._changes is not None:
            self._changes.request(self._family, _GENERIC.pack(SET_DEVICE, VERSION) + device_name(self._name) + made)

    def peers(self) -> Sequence[DevicePeer]:
        return [peer for part in self._read_now() for peer in parse_peers(part)]

    def _read_now(self) -> list[bytes]:
        assert self._changes is not None
        body = _GENERIC.pack(GET_DEVICE, VERSION) + device_name(self._name)
        return [part[_GENERIC.size :] for part in self._changes.request(self._family, body, DUMP)]

    def read_peers(self, done: Callable[[Sequence[DevicePeer]], None]) -> None:
        if self._done is not None or self._readings is None:
            return
        self._done, self._found = done, []
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._readings.socket, self._part)
        self._readings.send(self._family, DUMP, _GENERIC.pack(GET_DEVICE, VERSION) + device_name(self._name))

    def _part(self) -> None:
        assert self._readings is not None
        for _ in range(_PARTS_AT_ONCE):
            try:
                data = self._readings.socket.recv(PART_BYTES)
            except BlockingIOError:
                return
            except OSError:  # parts were lost: the next reading tells all
                self._done = None
                return
            for number, kind, payload in messages(data):
                if number != self._readings.number:
                    continue
                if kind in (ERROR, DONE):
                    self._finish()
                    return
                self._found += parse_peers(payload[_GENERIC.size :])

    def _finish(self) -> None:
        done, self._done = self._done, None
        found, self._found = self._found, []
        if done is not None:
            done(found)

    def close(self) -> None:
        if self._changes is None:
            return
        self._release(delete=True)

    def _delete(self) -> None:
        with closing(NetlinkChannel(_NETLINK_ROUTE)) as channel, suppress(OSError):  # gone already
            channel.request(DELETE_LINK, link_payload(name=self._name))

    def _release(self, *, delete: bool = False) -> None:
        """The sockets go before the device: a reading that was not taken up holds it, and its removal never ends."""
        if self._loop is not None and self._readings is not None:
            self._loop.remove_reader(self._readings.socket)
        self._loop = self._done = None
        for channel in (self._changes, self._readings):
            if channel is not None:
                channel.close()
        self._changes = self._readings = None
        if delete:
            self._delete()
        if self._claimed is not None:
            self._claimed.close()
            self._claimed = None


def _explained(error: OSError, name: str, port: int) -> UnderlayError | PrivilegeError:
    if error.errno in _LACKING:
        return KernelLacksWireGuardError(
            "this kernel has no WireGuard", mend="load the module (modprobe wireguard), or use the userspace engine"
        )
    if error.errno in (errno.EPERM, errno.EACCES):
        return PrivilegeError("may not make a WireGuard device", mend="run as root, or with CAP_NET_ADMIN")
    if error.errno == errno.EADDRINUSE:
        return UnderlayError(
            f"UDP port {port} is taken by another program",
            mend="stop that program, or set another port (0 takes any free one)",
            code="port_taken",
        )
    if error.errno == errno.EEXIST:
        return UnderlayError(f"there is another interface {name}", mend="remove it, or set tunnel.interface")
    return UnderlayError(f"cannot make the WireGuard device {name}: {error.strerror}")
