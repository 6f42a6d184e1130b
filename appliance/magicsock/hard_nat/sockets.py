"""The side sockets of attempts and what became of them: in use by a peer, hit and kept for a while, or closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance.magicsock.outbox import CloseSockets, Outbox
from appliance.magicsock.timing import NEVER
from appliance.ports.side_ports import SideSocket
from appliance.types.keys import NodePublicKey

KEEP_S = 5.0
"""After an attempt every socket stays for so long: answers to it may be on their way."""
HIT_KEEP_S = 20.0
"""A socket by which the peer's pings come stays while they come: the peer may send there, whatever we use."""


@dataclass(slots=True)
class _Kept:
    """`until` None: the attempt runs."""

    numbers: set[int] = field(default_factory=set)
    hits: dict[int, float] = field(default_factory=dict)
    winner: int = 0
    until: float | None = None


class SocketShelf:
    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._kept: dict[NodePublicKey, _Kept] = {}
        self._owner: dict[int, NodePublicKey] = {}

    def owner(self, number: int) -> NodePublicKey | None:
        """The peer whose attempt opened the socket."""
        return self._owner.get(number)

    def __len__(self) -> int:
        return len(self._owner)

    def opened(self, peer: NodePublicKey, sockets: Sequence[SideSocket]) -> None:
        kept = self._kept.setdefault(peer, _Kept())
        kept.until = None
        for socket in sockets:
            kept.numbers.add(socket.number)
            self._owner[socket.number] = peer

    def discard(self, sockets: Sequence[SideSocket]) -> None:
        """Nobody wants them any more."""
        if sockets:
            self._outbox.emit(CloseSockets(tuple(socket.number for socket in sockets)))

    def hit(self, peer: NodePublicKey, number: int, now: float) -> bool:
        """A ping of the peer came by the socket. False: it is none of that peer's."""
        if self._owner.get(number) != peer:
            return False
        self._kept[peer].hits[number] = now
        return True

    def last_hit(self, peer: NodePublicKey, number: int) -> float:
        """When a ping of the peer came by the socket, long ago for never."""
        kept = self._kept.get(peer)
        return kept.hits.get(number, NEVER) if kept is not None else NEVER

    def set_winner(self, peer: NodePublicKey, number: int, now: float) -> None:
        """The socket that the peer's packets go out by, 0 = the main one."""
        kept = self._kept.get(peer)
        if kept is not None and kept.winner != number:
            kept.winner = number
            if kept.until is not None:
                kept.until = min(kept.until, now + KEEP_S)

    def finish(self, peer: NodePublicKey, now: float) -> None:
        """The attempt is over."""
        kept = self._kept.get(peer)
        if kept is not None:
            kept.until = now + KEEP_S

    def next_timer(self) -> float | None:
        return min((kept.until for kept in self._kept.values() if kept.until is not None), default=None)

    def handle_timer(self, now: float) -> None:
        for peer, kept in tuple(self._kept.items()):
            if kept.until is not None and now >= kept.until:
                self._sweep(peer, kept, now)

    def _sweep(self, peer: NodePublicKey, kept: _Kept, now: float) -> None:
        useless = {
            number
            for number in kept.numbers
            if number != kept.winner and now - kept.hits.get(number, NEVER) > HIT_KEEP_S
        }
        self._close(kept, useless)
        kept.until = now + KEEP_S
        if not kept.numbers:
            del self._kept[peer]

    def _close(self, kept: _Kept, numbers: set[int]) -> None:
        if numbers:
            kept.numbers -= numbers
            for number in numbers:
                del self._owner[number]
                kept.hits.pop(number, None)
            self._outbox.emit(CloseSockets(tuple(sorted(numbers))))

    def close_all(self) -> None:
        for kept in self._kept.values():
            self._close(kept, set(kept.numbers))
        self._kept.clear()
