"""How path finding gets at the device's UDP port: three nftables rules, or raw sockets where those cannot be placed.

With the rules what is not WireGuard comes to an ordinary socket at the inner port and leaves by the device's port, and
the device never sees it. The raw sockets get copies; the device drops what it gets as well (magicsock-disco spec 6.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from appliance.engine.kernel.steering import steering_document, unsteering_document
from appliance.ports.packets import UdpPort
from appliance.ports.wireguard_device import CopyPort
from appliance.types.errors import ApplianceError, UnderlayError


class PortSplit:
    """`open_udp` binds an ordinary port, 0 any; `open_copies` opens beside the device's; `steer` applies nftables text.

    `refused` is why the rules could not be placed, empty while they are.
    """

    def __init__(
        self,
        open_udp: Callable[[int], Sequence[UdpPort]],
        open_copies: Callable[[int], Sequence[CopyPort]],
        steer: Callable[[str], None],
        interface: str,
    ) -> None:
        self._open_udp = open_udp
        self._open_copies = open_copies
        self._steer = steer
        self._interface = interface
        self._copies: Sequence[CopyPort] = ()
        self.ports: Sequence[UdpPort] = ()
        self.inner_port = 0
        self.refused = ""

    async def open(self, port: int) -> None:
        """Make `ports`, the sockets beside the device's port. Raises `ApplianceError` when there is neither way."""
        ordinary = self._open_udp(0)
        self.inner_port = next((each.local.port for each in ordinary), 0)
        try:
            await asyncio.to_thread(self._steer, self._document(port))
        except ApplianceError as refusal:
            _close(ordinary)
            await self._copy(port, refusal)
        except BaseException:
            _close(ordinary)
            raise
        else:
            self.ports = ordinary

    async def _copy(self, port: int, refusal: ApplianceError) -> None:
        """The rules that a run before left must not take what the copies are to see."""
        self.inner_port, self.refused = 0, refusal.text
        await self._remove_rules()
        self.ports = self._copies = self._open_copies(port)

    def _document(self, port: int) -> str:
        return steering_document(port, self.inner_port, self._interface)

    def move(self, port: int) -> None:
        """The device has another port now. Raises `ApplianceError`; then the former one counts."""
        if self.refused:
            self._move_copies(port)
        else:
            self._steer(self._document(port))

    def _move_copies(self, port: int) -> None:
        try:
            for each in self._copies:
                each.move(port)
        except OSError as error:
            raise UnderlayError(f"cannot take UDP port {port}: {error.strerror or error}") from error

    def again(self, port: int) -> bool:
        """Place the rules that another program removed; whether that went well."""
        try:
            self._steer(self._document(port))
        except ApplianceError:
            return False
        return True

    async def _remove_rules(self) -> bool:
        """Whether nftables did."""
        try:
            await asyncio.to_thread(self._steer, unsteering_document())
        except ApplianceError:
            return False
        return True

    async def close(self) -> bool:
        """Remove the rules; False when that failed. Without the device they steer nothing."""
        return await self._remove_rules() or bool(self.refused)


def _close(ports: Sequence[UdpPort]) -> None:
    for port in ports:
        port.close()
