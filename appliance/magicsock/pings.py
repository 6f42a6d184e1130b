"""Pings to one peer: sending them, and those that wait for their pong."""

from __future__ import annotations

from dataclasses import dataclass, replace

from appliance.magicsock.context import PathContext
from appliance.magicsock.path_mtu import padding_of
from appliance.magicsock.timing import MAX_SENT_PINGS, PING_TIMEOUT
from appliance.proto.disco import Ping
from appliance.types.addresses import AddrPort
from appliance.types.netmap import Node

TX_ID_SIZE = 12


@dataclass(frozen=True, slots=True)
class SentPing:
    """`to` None: by DERP; `vni`: through the peer relay at `to`. `token` names the person's request that it serves.

    `counted`: its loss says something. `socket`: the side socket that it left by, 0 = the main one. `probe`: sent to a
    guessed address. `size`: of the IP packet that it was padded to, which nobody may fragment; 0 = not padded.
    """

    tx_id: bytes
    to: AddrPort | None
    at: float
    token: int | None = None
    vni: int | None = None
    counted: bool = False
    socket: int = 0
    probe: bool = False
    size: int = 0


class Pings:
    """Bounded; in order of sending, so that the first is the next to time out. Silent while logged out."""

    def __init__(self, context: PathContext) -> None:
        self._context = context
        self._sent: dict[bytes, SentPing] = {}

    def send(self, node: Node, ping: SentPing) -> None:
        """By UDP; with `vni` through the peer relay there. The transaction id is chosen here."""
        if node.disco_key is None or self._context.node_key is None or ping.to is None:
            return
        message = self._note(ping, padding_of(ping.size, ping.to) if ping.size else 0)
        if ping.vni is None:
            self._context.outbox.disco(ping.to, node.disco_key, message, ping.socket, whole=bool(ping.size))
        else:
            self._context.outbox.disco_via(ping.to, ping.vni, node.disco_key, message)

    def send_by_derp(self, node: Node, now: float, token: int | None = None) -> None:
        if node.disco_key is not None and self._context.node_key is not None:
            ping = self._note(SentPing(b"", None, now, token))
            self._context.outbox.disco_by_derp(node.key, node.home_derp, node.disco_key, ping)

    def _note(self, ping: SentPing, padding: int = 0) -> Ping:
        if len(self._sent) >= MAX_SENT_PINGS:
            del self._sent[next(iter(self._sent))]
        tx_id = self._context.outbox.randomness.bytes(TX_ID_SIZE)
        self._sent[tx_id] = replace(ping, tx_id=tx_id)
        return Ping(tx_id, self._context.node_key, padding)

    def take(self, tx_id: bytes, by_derp: bool, vni: int | None = None) -> SentPing | None:
        """The ping that a pong answers, once; the pong must have come the way that the ping went."""
        ping = self._sent.get(tx_id)
        if ping is None or (ping.to is None) != by_derp or ping.vni != vni:
            return None
        return self._sent.pop(tx_id)

    def next_timeout(self) -> float | None:
        for ping in self._sent.values():
            return ping.at + PING_TIMEOUT
        return None

    def expire(self, now: float) -> list[SentPing]:
        """Pings that got no answer in time, removed."""
        expired: list[SentPing] = []
        for ping in self._sent.values():
            if ping.at + PING_TIMEOUT > now:
                break
            expired.append(ping)
        for ping in expired:
            del self._sent[ping.tx_id]
        return expired

    def clear(self) -> None:
        self._sent.clear()

    def __len__(self) -> int:
        return len(self._sent)
