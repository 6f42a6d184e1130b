"""Pure: which sockets of users have an association for UDP with the proxy, and for how long (RFC 1928 section 7).

Each socket of a user has one of its own, whomever it sends to, so that answers find back to it; it hears only those
that it sent to (endpoint-independent mapping, address and port-dependent filtering, RFC 4787 sections 4.1 and 5).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.types.addresses import AddrPort
from plugins.exit_node.proto import encode_datagram_head

MAX_ASSOCIATIONS = 1024
MAX_PER_HOST = 512
MAX_GOALS = 256
MAX_WAITING = 16
IDLE_S = 120.0
"""RFC 4787 section 4.3."""
QUESTION_IDLE_S = 5.0
"""Of a socket that asks resolvers only: there the section allows less, and each question has a socket of its own."""
RETRY_S = 2.0
"""So long after the proxy ended an association nothing is tried for that socket."""
_DNS_PORT = 53


@dataclass(slots=True, eq=False)
class Association:
    """`heads` go before datagrams to each place that the user sent to, the latest last; `waiting` until the proxy has
    granted it. `ended`: it carries nothing more."""

    user: AddrPort
    used_at: float
    heads: dict[AddrPort, bytes] = field(default_factory=dict)
    waiting: list[bytes] = field(default_factory=list)
    idle_s: float = QUESTION_IDLE_S
    ended: bool = False

    def wrapped(self, goal: AddrPort, payload: bytes) -> bytes:
        """A datagram as the proxy takes it."""
        head = self.heads.pop(goal, None) or encode_datagram_head(goal)
        self.heads[goal] = head
        if len(self.heads) > MAX_GOALS:
            del self.heads[next(iter(self.heads))]
        if goal.port != _DNS_PORT:
            self.idle_s = IDLE_S
        return head + payload

    def wait(self, datagram: bytes) -> bool:
        """Keep it until the proxy has granted the association. False: too many wait."""
        if len(self.waiting) >= MAX_WAITING:
            return False
        self.waiting.append(datagram)
        return True

    def hears(self, source: AddrPort) -> bool:
        return source in self.heads

    def ends_at(self) -> float:
        return self.used_at + (RETRY_S if self.ended else self.idle_s)


class Associations:
    """Bounded, in all and for each host: one that has many loses its own longest unused one for a new one."""

    def __init__(self) -> None:
        self._hosts: dict[str, dict[AddrPort, Association]] = {}
        """By address; the longest unused first."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, user: AddrPort, now: float) -> Association | None:
        """The user's own, used now; None: it has none."""
        held = self._hosts.get(user.ip, {})
        found = held.get(user)
        if found is not None and not found.ended:
            found.used_at = now
            held[user] = held.pop(user)
        return found

    def add(self, user: AddrPort, now: float) -> tuple[Association | None, Association | None]:
        """A new one, None: there is no room; and the one that it takes the place of."""
        held = self._hosts.get(user.ip, {})
        former: Association | None = None
        if self._count >= MAX_ASSOCIATIONS or len(held) >= MAX_PER_HOST:
            if not held:
                return None, None
            former = next(iter(held.values()))
            self._forget(former)
        made = Association(user, now)
        self._hosts.setdefault(user.ip, {})[user] = made
        self._count += 1
        return made, former

    def end(self, association: Association, now: float) -> None:
        """It carries nothing more, and its place is free after `RETRY_S`."""
        association.ended, association.used_at = True, now
        association.waiting.clear()

    def take_idle(self, now: float) -> list[Association]:
        """Those that are over; they are forgotten."""
        over = [each for held in self._hosts.values() for each in held.values() if each.ends_at() <= now]
        for each in over:
            self._forget(each)
        return over

    def _forget(self, association: Association) -> None:
        held = self._hosts[association.user.ip]
        del held[association.user]
        if not held:
            del self._hosts[association.user.ip]
        self._count -= 1
