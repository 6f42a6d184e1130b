"""Side sockets of a simulated host."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.ports.side_ports import SideReceiver, SideSocket
from appliance.types.addresses import AddrPort
from tests.sim.network import Host


class HostSidePorts:
    """`most`: sockets at once that the system gives."""

    def __init__(self, host: Host, most: int = 700) -> None:
        self._host, self._most = host, most
        self._ports: dict[int, int] = {}
        self._last = 0
        self._receive: SideReceiver | None = None

    def set_receiver(self, receive: SideReceiver) -> None:
        self._receive = receive

    def open(self, count: int) -> Sequence[SideSocket]:
        return [self._open() for _ in range(min(count, self._most - len(self._ports)))]

    def _open(self) -> SideSocket:
        self._last += 1
        number = self._last
        port = self._host.open(lambda source, data: self._arrive(number, source, data))
        self._ports[number] = port
        return SideSocket(number, port)

    def _arrive(self, number: int, source: AddrPort, data: bytes) -> None:
        if self._receive is not None and number in self._ports:
            self._receive(number, source, data)

    def send(self, number: int, to: AddrPort, data: bytes) -> None:
        if number in self._ports:
            self._host.send(to, data, self._ports[number])

    def close(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            port = self._ports.pop(number, None)
            if port is not None:
                self._host.close(port)

    def port_of(self, number: int) -> int:
        return self._ports[number]

    def __len__(self) -> int:
        return len(self._ports)
