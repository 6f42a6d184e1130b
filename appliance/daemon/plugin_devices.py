"""Network devices that plugins ask for: which are open, and what the router is to send into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_network

from appliance.api.values import PacketDevice
from appliance.ports.packets import TunPort
from appliance.router.model import SideDevice
from appliance.types.addresses import Prefix
from appliance.types.errors import ApplianceError, ConfigError
from appliance.types.packets import TunPacket

DEVICE_MTU = 65535
"""What leaves by such a device meets the MTU of the way that it takes then."""
PREFIX = "waypost"
LONGEST_NAME = 15


class PluginDevices:
    """`open_tun` makes a device of a name and an MTU; `changed` is called whenever one comes or goes."""

    def __init__(self, open_tun: Callable[[str, int], TunPort], own: str) -> None:
        self._open_tun = open_tun
        self._own = own
        self._serial = 0
        self._open: dict[str, tuple[str, SideDevice]] = {}
        self.changed: Callable[[], None] = lambda: None

    @property
    def devices(self) -> tuple[SideDevice, ...]:
        """Those that are open now, for the router."""
        return tuple(device for _plugin, device in self._open.values())

    def open(self, plugin: str, wanted: PacketDevice) -> TunPort:
        """Raises `ApplianceError`; where another plugin has the name the text says which."""
        name = wanted.name
        if not name.startswith(PREFIX) or len(name) > LONGEST_NAME or name == self._own or "%" in name or "/" in name:
            mend = f"let it begin with {PREFIX} and have at most {LONGEST_NAME} characters"
            raise ConfigError(f"{name!r} cannot be a plugin's network device", mend=mend)
        if name in self._open:
            text = f"the network device {name} is open already, by plugin {self._open[name][0]}"
            raise ApplianceError(text, mend="take another name", code="device-taken")
        self._serial += 1
        device = SideDevice(name, _prefixes(wanted.routes), _prefixes(wanted.masqueraded), self._serial)
        port = _PluginTunPort(self._open_tun(name, DEVICE_MTU), lambda: self._gone(name))
        self._open[name] = plugin, device
        self.changed()
        return port

    def _gone(self, name: str) -> None:
        if self._open.pop(name, None) is not None:
            self.changed()


class _PluginTunPort:
    """A device that the router hears of when it is closed."""

    def __init__(self, port: TunPort, closed: Callable[[], None]) -> None:
        self._port = port
        self._closed = closed

    @property
    def name(self) -> str:
        return self._port.name

    @property
    def mtu(self) -> int:
        return self._port.mtu

    @property
    def offloading(self) -> bool:
        return self._port.offloading

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        self._port.set_reader(callback)

    def receive(self, limit: int = 64) -> list[TunPacket]:
        return self._port.receive(limit)

    def send(self, packets: Sequence[TunPacket]) -> None:
        self._port.send(packets)

    def close(self) -> None:
        self._port.close()
        self._closed()


def _prefixes(texts: Sequence[str]) -> tuple[Prefix, ...]:
    """Raises `ConfigError`."""
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise ConfigError(f"a network device cannot have that route: {error}", mend="write 192.168.1.0/24") from None
