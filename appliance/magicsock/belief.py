"""What is proven of the way to one peer, and how long it is believed (magicsock-disco spec 3.1, 3.8)."""

from __future__ import annotations

from appliance.magicsock.context import PathContext
from appliance.magicsock.doubt import Doubt
from appliance.magicsock.scoring import ProvenPath, worth_a_move
from appliance.magicsock.timing import MOVE_CALM, NEVER, SILENCE, TRUST_DURATION
from appliance.types.addresses import AddrPort
from appliance.types.keys import NodePublicKey


class Belief:
    """`best`: the path in use, None while nothing is proven. `answer_due`: when a heartbeat's answer is overdue."""

    def __init__(self, owner: NodePublicKey, context: PathContext) -> None:
        self._owner = owner
        self._context = context
        self.best: ProvenPath | None = None
        self.trust_until = NEVER
        self.proven_at = NEVER
        self._carried_at = NEVER
        self.answer_due: float | None = None
        self.doubt = Doubt()
        self._moved_at = NEVER

    # What is known

    def trusted(self, now: float) -> bool:
        """Whether packets may take `best` alone."""
        return self.best is not None and now <= self.trust_until

    def sure(self, now: float) -> bool:
        """Trusted, and no probe of it is overdue."""
        return self.trusted(now) and not self.doubt.shaken(now)

    def carries(self, now: float) -> bool:
        """Whether the peer's packets came along `best` a moment ago. Its daemon may be dead though."""
        return self.best is not None and now - self._carried_at < TRUST_DURATION

    def settled(self, now: float) -> bool:
        """Whether there is a direct path that is believed."""
        return self.best is not None and self.best.direct and self.trusted(now)

    def is_direct(self, address: AddrPort) -> bool:
        """Whether `best` leads straight there; a relay may stand at an address that is a candidate too."""
        return self.best is not None and self.best.direct and self.best.addr_port == address

    # What becomes of it

    def set(self, path: ProvenPath | None) -> None:
        """Another path, or none."""
        proven = self._context.proven
        if self.best is not None and proven.get(self.best.addr_port) == self._owner:
            del proven[self.best.addr_port]
        if path is None or self.best is None or not path.same_address(self.best):
            self._carried_at = NEVER
        self.best = path
        if path is None:
            self.distrust()
            self.doubt.end()
        else:
            proven[path.addr_port] = self._owner

    def prove(self, path: ProvenPath, now: float) -> bool:
        """A pong came along `path`. Whether that is the path in use now."""
        calm = now - self._moved_at >= MOVE_CALM
        if not self.trusted(now) or self.doubt.shaken(now) or worth_a_move(path, self.best, moved_lately=not calm):
            self._take(path, now)
        if self.best is None or not self.best.same_address(path):
            return False
        self.best = path
        self.trust_until = now + TRUST_DURATION
        self.proven_at = now
        self.answer_due = None
        self.doubt.end()
        return True

    def _take(self, path: ProvenPath, now: float) -> None:
        if self.best is not None and not self.best.same_address(path):
            self._moved_at = now
        self.set(path)

    def carried(self, source: AddrPort | None, now: float) -> None:
        """Authenticated packets of the peer came by UDP, from `source` as far as that is known."""
        if self.best is not None and source in (None, self.best.addr_port):
            self._carried_at = now

    def distrust(self) -> None:
        """Packets need another way too until the path is proven anew."""
        self.trust_until = NEVER
        self.answer_due = None

    def expect_answer(self, now: float) -> None:
        """A heartbeat went out."""
        if self.best is not None and self.trusted(now) and not self.doubt.running:
            self.answer_due = now + max(SILENCE, 3 * self.best.latency_s)

    def answer_overdue(self, now: float) -> bool:
        """Whether a heartbeat's answer is missing; said once."""
        if self.answer_due is None or now < self.answer_due:
            return False
        self.answer_due = None
        return True

    def rest(self) -> None:
        """The session is idle: nothing is being asked."""
        self.answer_due = None
        self.doubt.end()
