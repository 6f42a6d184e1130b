"""Asks STUN servers from fresh sockets what our NAT does with them (magicsock-disco spec 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.magicsock.hard_nat.classification import Observation, classify
from appliance.magicsock.outbox import CloseSockets, OpenSockets, Outbox, SendDatagram
from appliance.ports.side_ports import SideSocket
from appliance.proto.disco import NatClass
from appliance.proto.stun import TX_ID_SIZE, BindingResponse, encode_request
from appliance.types.addresses import AddrPort

SOCKETS = 8
MAX_SERVERS = 4
PATIENCE_S = 0.8
"""For all answers; a second request goes out half way for those that are missing."""


@dataclass(frozen=True, slots=True)
class _Asked:
    order: int
    socket: SideSocket
    server: AddrPort
    at: float


class Questions:
    """One round. `next_at` None: it is over, `result` says what was found."""

    def __init__(self, outbox: Outbox, servers: Sequence[AddrPort], now: float) -> None:
        self._outbox = outbox
        self._servers = tuple(servers[:MAX_SERVERS])
        self._sockets: tuple[SideSocket, ...] = ()
        self._asked: dict[bytes, _Asked] = {}
        self._answers: dict[int, Observation] = {}
        self._repeated = False
        self.started = False
        """Whether the sockets have come."""
        self._until = now + PATIENCE_S
        self.next_at: float | None = now + PATIENCE_S / 2
        self.result: NatClass | None = None
        outbox.emit(OpenSockets(SOCKETS))

    def receive_sockets(self, sockets: Sequence[SideSocket], now: float) -> None:
        """The sockets are open: every one asks every server, one socket after the other."""
        self.started = True
        self._sockets = tuple(sockets)
        order = 0
        for socket in self._sockets:
            for server in self._servers:
                self._ask(_Asked(order, socket, server, now))
                order += 1
        if not order:
            self._end()

    def _ask(self, asked: _Asked) -> None:
        tx_id = self._outbox.randomness.bytes(TX_ID_SIZE)
        self._asked[tx_id] = asked
        self._outbox.emit(SendDatagram(asked.server, encode_request(tx_id), asked.socket.number))

    def owns(self, socket: int) -> bool:
        return any(each.number == socket for each in self._sockets)

    def receive(self, response: BindingResponse) -> bool:
        """Whether the answer was to one of these questions; ends the round when it was the last one."""
        asked = self._asked.pop(response.tx_id, None)
        if asked is None:
            return False
        found = Observation(asked.order, asked.socket.port, asked.server, response.mapped, asked.at)
        self._answers.setdefault(asked.order, found)
        if len(self._answers) == len(self._sockets) * len(self._servers):
            self._end()
        return True

    def handle_timer(self, now: float) -> None:
        if now >= self._until:
            self._end()
        elif not self._repeated:
            self._repeated = True
            self.next_at = self._until
            for asked in [each for each in self._asked.values() if each.order not in self._answers]:
                self._ask(asked)

    def _end(self) -> None:
        self.next_at = None
        self.result = classify(self._answers.values())
        self.close()

    def close(self) -> None:
        """Give the sockets back. Safe to call twice."""
        if self._sockets:
            self._outbox.emit(CloseSockets(tuple(socket.number for socket in self._sockets)))
            self._sockets = ()
