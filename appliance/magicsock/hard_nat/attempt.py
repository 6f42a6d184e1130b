"""One attempt at a direct path through a hard NAT: sockets opened in time, pings in bursts (magicsock-disco spec 4.3).

Every packet is an ordinary disco ping, so whatever gets through is authenticated and proves the path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from appliance.magicsock.hard_nat.plan import AttackPlan, Role
from appliance.magicsock.outbox import OpenSockets, Outbox
from appliance.magicsock.peer import PeerPaths
from appliance.ports.side_ports import SideSocket
from appliance.proto.disco import NatClass
from appliance.types.addresses import AddrPort

OPENINGS_A_STEP = 10
OPENING_STEP_S = 0.05
REOPEN_S = 8.0
PROBES_A_BURST = 20
BURST_S = 0.2
OFFER_PATIENCE_S = 1.5
MAX_OFFERS = 2
OPENED_PATIENCE_S = 8.0
AFTERGLOW_S = 3.0
"""After the last probe answers may still come."""
ATTEMPT_LIMIT_S = 30.0


class Stage(Enum):
    """SORTING: our own NAT is being classified. OFFERED: the peer has been asked. READY: it knows our class."""

    SORTING = "sorting"
    OFFERED = "offered"
    READY = "ready"
    OPENING = "opening"
    OPEN = "open"
    PROBING = "probing"


@dataclass(slots=True)
class Attempt:
    """`number`: its id on the wire. `leads`: we offered it. `target`: where openers go. `stock`: the peer answers no
    offers and only pings what a call-me-maybe lists. Meeters have `said` and `heard` what a round needs; `rounds`
    began."""

    peer: PeerPaths
    number: bytes
    leads: bool
    started_at: float
    stage: Stage = Stage.SORTING
    theirs: NatClass | None = None
    target: AddrPort | None = None
    plan: AttackPlan = field(default_factory=lambda: AttackPlan(Role.NONE))
    stock: bool = False
    offers: int = 0
    next_at: float | None = None
    sockets: list[SideSocket] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    reopen_at: float = 0.0
    probing_ends: float | None = None
    said: bool = False
    heard: bool = False
    rounds: int = 0

    @property
    def ends_at(self) -> float:
        return self.started_at + ATTEMPT_LIMIT_S

    def deadline(self) -> float:
        """When the attempt wants to be called again."""
        return self.ends_at if self.next_at is None else min(self.next_at, self.ends_at)

    # The opener

    def open_more(self, outbox: Outbox, now: float) -> None:
        """A few sockets at a time: routers are slow with many new mappings at once."""
        self.stage = Stage.OPENING
        self.next_at = now + OPENING_STEP_S
        outbox.emit(OpenSockets(min(OPENINGS_A_STEP, self.plan.sockets - len(self.sockets))))

    def receive_sockets(self, sockets: Sequence[SideSocket], now: float) -> bool:
        """New sockets open the NAT toward the peer at once. Whether all are open now."""
        self.sockets.extend(sockets)
        for socket in sockets:
            self._open_toward_peer(socket, now)
        if sockets and len(self.sockets) < self.plan.sockets:
            return False
        self.stage = Stage.OPEN
        self.reopen_at = now + REOPEN_S
        self.next_at = self.reopen_at
        return True

    def _open_toward_peer(self, socket: SideSocket, now: float) -> None:
        if self.target is not None:
            self.peer.probe(self.target, now, socket.number)

    def reopen(self, now: float) -> None:
        """Unanswered mappings die within 10 to 30 s."""
        for socket in self.sockets:
            self._open_toward_peer(socket, now)
        self.next_at = now + REOPEN_S

    # The prober

    def probe_more(self, now: float) -> None:
        """The next ports of the list, from our main port or the one socket that was opened for it."""
        self.stage = Stage.PROBING
        socket = self.sockets[-1].number if self.sockets else 0
        burst, self.ports = self.ports[:PROBES_A_BURST], self.ports[PROBES_A_BURST:]
        if self.theirs is not None:
            for port in burst:
                self.peer.probe(AddrPort(self.theirs.address, port), now, socket)
        if self.ports:
            self.next_at = now + BURST_S
        elif self.probing_ends is None:
            self.probing_ends = self.next_at = now + AFTERGLOW_S

    # Meeters

    def open_one(self, outbox: Outbox) -> None:
        """A socket that has no mapping toward the peer yet."""
        self.stage, self.next_at = Stage.OPENING, None
        outbox.emit(OpenSockets(1))

    def wait_for_peer(self, now: float) -> None:
        """We are ready; the round begins when the peer is too."""
        self.stage, self.said = Stage.READY, True
        self.next_at = now + OPENED_PATIENCE_S

    @property
    def may_begin_round(self) -> bool:
        return self.said and self.heard and self.stage is Stage.READY

    def begin_round(self, ports: Sequence[int], now: float) -> None:
        self.said = self.heard = False
        self.rounds += 1
        self.ports, self.probing_ends = list(ports), None
        self.probe_more(now)
