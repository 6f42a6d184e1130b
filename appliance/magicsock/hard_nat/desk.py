"""Decides when a hard NAT is tried, carries the talk with the peer, and keeps the sockets (magicsock-disco spec 4.3).

One attempt at a time. A peer of ours is asked first: then the side behind the hard NAT opens sockets and the other
probes its ports. A peer that does not answer is taken for a stock client, which only pings the addresses of a
call-me-maybe: if we are the hard side, guessed ports of ours are put in there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from appliance.magicsock.context import PathContext
from appliance.magicsock.hard_nat.attempt import (
    MAX_OFFERS,
    OFFER_PATIENCE_S,
    OPENED_PATIENCE_S,
    Attempt,
    Stage,
)
from appliance.magicsock.hard_nat.limits import AttemptLimit
from appliance.magicsock.hard_nat.meeting import foretellable, has_one_port, ports_to_meet
from appliance.magicsock.hard_nat.plan import (
    SOCKETS_RANDOM,
    STOCK_GUESSES,
    AttackPlan,
    Role,
    is_hard,
    make_plan,
    ports_to_probe,
)
from appliance.magicsock.hard_nat.questions import Questions
from appliance.magicsock.hard_nat.sockets import SocketShelf
from appliance.magicsock.locator import Locator
from appliance.magicsock.peer import PeerPaths
from appliance.magicsock.peers import PeerTable
from appliance.magicsock.timing import NEVER
from appliance.ports.side_ports import SideSocket
from appliance.ports.underlay import PeerActivity
from appliance.proto.disco import ATTEMPT_ID_SIZE, HardNat, HardNatStep, NatClass, PortRule
from appliance.proto.stun import BindingResponse
from appliance.types.addresses import AddrPort
from appliance.types.keys import NodePublicKey

NO_DIRECT_S = 15.0
"""An active session must have been without a direct path for so long."""
CHECK_INTERVAL_S = 3.0
CLASS_FRESH_S = 600.0
SEQUENTIAL_FRESH_S = 1.0
MEETING_FRESH_S = 0.1
MEETING_ROUNDS = 3
"""Where counting NATs can be asked anew; a block has only so many ports to spend."""
STOCK_MESSAGES = 3
STOCK_INTERVAL_S = 8.0
FOLLOW_S = 4.0
"""Several openings may have been met. The peer's heartbeats show which one it uses; a way that both use stays open
when a NAT forgets, for each side's packets open it for the other's."""
HEARD_RECENTLY_S = 1.5
PREDICTION_AGE_S = 0.15
"""From the last question to the first opener: what a sequential NAT may have given to others meanwhile."""


@dataclass(frozen=True, slots=True)
class SideRoute:
    """`mirrored`: the path is in doubt, packets go by the relay as well."""

    socket: int
    to: AddrPort
    mirrored: bool


class HardNatDesk:
    """`max_sockets`: what an attempt may open; 0: nothing is tried, neither on our wish nor on a peer's."""

    def __init__(self, context: PathContext, peers: PeerTable, locator: Locator) -> None:
        self._context = context
        self._outbox = context.outbox
        self._peers = peers
        self._locator = locator
        self._since: dict[NodePublicKey, float] = {}
        self._limit: AttemptLimit[NodePublicKey] = AttemptLimit()
        self._check_at: float | None = None
        self._questions: Questions | None = None
        self._attempt: Attempt | None = None
        self._class: NatClass | None = None
        self._class_at = NEVER
        self.shelf = SocketShelf(self._outbox)
        self.max_sockets = 0
        self._heard_at: dict[NodePublicKey, float] = {}
        self._last_words: dict[NodePublicKey, str] = {}

    # What is known

    def words_on(self, peer: NodePublicKey) -> str:
        """What is being tried with the peer, or how the last attempt went; "" when there was none."""
        if self._attempt is not None and self._attempt.peer.node.key == peer:
            return "its ports are being guessed"
        words = self._last_words.get(peer, "")
        return f"guessing ports did not help: {words}" if words else ""

    @property
    def _public(self) -> AddrPort | None:
        report = self._locator.report
        return report.global_v4 if report is not None else None

    def route(self, peer: PeerPaths, now: float) -> SideRoute | None:
        """How the peer's packets go out by a side socket; None: they do not."""
        best = peer.best
        if best is None or not best.socket:
            return None
        return SideRoute(best.socket, best.addr_port, bool(peer.relay_region) and not peer.belief.sure(now))

    # Events

    def heard(self, socket: int, now: float) -> NodePublicKey | None:
        """WireGuard came by a side socket: whose it must be."""
        owner = self.shelf.owner(socket)
        if owner is not None:
            self._heard_at[owner] = now
        return owner

    def completed(self, report: PeerActivity, now: float) -> PeerActivity:
        """The engine's report; it cannot know what came by a side socket."""
        if now - self._heard_at.get(report.peer, NEVER) > HEARD_RECENTLY_S:
            self._heard_at.pop(report.peer, None)
            return report
        return replace(report, rx_direct=True, source=None)

    def touched(self, peer: PeerPaths, now: float) -> None:
        """Something happened to the peer: does it lack a direct path, and which of our sockets does it use?"""
        key = peer.node.key
        self.shelf.set_winner(key, peer.best.socket if peer.best is not None else 0, now)
        if not self.max_sockets or not peer.usable or not peer.active(now) or peer.settled(now):
            self._since.pop(key, None)
            if self._attempt is not None and self._attempt.peer is peer and peer.settled(now):
                self._end(now, "a direct path was found", tell=False)
            return
        self._since.setdefault(key, now)
        if self._check_at is None:
            self._check_at = now + CHECK_INTERVAL_S

    def link_changed(self, now: float) -> None:
        """Another network: nothing learned or opened in the old one counts."""
        self._end(now, "the network changed", tell=True)
        if self._questions is not None:
            self._questions.close()
            self._questions = None
        self._class, self._class_at = None, NEVER
        self._limit.forget()
        self._last_words.clear()
        self._since.clear()
        self.shelf.close_all()

    def refused(self, now: float) -> None:
        """The kernel refused a packet of a side socket: the host or its router has had enough."""
        self._end(now, "the system refused more packets", tell=True)

    def receive_sockets(self, sockets: Sequence[SideSocket], now: float) -> None:
        """Answer to `OpenSockets`; fewer than asked for, or none, when the system has no more."""
        questions, attempt = self._questions, self._attempt
        if questions is not None and not questions.started:
            questions.receive_sockets(sockets, now)
            self._after_questions(now)
        elif attempt is not None and attempt.stage is Stage.OPENING:
            self.shelf.opened(attempt.peer.node.key, sockets)
            if attempt.plan.role is Role.MEETER:
                self._socket_to_meet(attempt, sockets, now)
            elif attempt.receive_sockets(sockets, now):
                self._opened(attempt, now)
        else:
            self.shelf.discard(sockets)

    def receive_stun(self, socket: int, response: BindingResponse, now: float) -> bool:
        questions = self._questions
        if questions is None or not questions.owns(socket) or not questions.receive(response):
            return False
        self._after_questions(now)
        return True

    def pinged(self, peer: PeerPaths, source: AddrPort, socket: int, now: float) -> None:
        """The peer's ping came through one of our openings: prove the way back, or take the way that the peer takes."""
        used = peer.best.socket if peer.best is not None else 0
        used_at = self.shelf.last_hit(peer.node.key, used)
        if not self.shelf.hit(peer.node.key, socket, now):
            return
        if not peer.settled(now):
            peer.probe(source, now, socket)
        elif used and used != socket and now - used_at > FOLLOW_S:
            peer.use_socket(socket)

    def receive(self, peer: PeerPaths, message: HardNat, now: float) -> None:
        """The peer's word, authenticated."""
        attempt = self._attempt
        if message.step is HardNatStep.OFFER:
            self._offered(peer, message, now)
            return
        if attempt is None or attempt.peer is not peer or attempt.number != message.attempt:
            self._outbox.count("hard_nat_stale")
            return
        match message.step:
            case HardNatStep.ACCEPT if attempt.stage is Stage.OFFERED:
                self._agreed(attempt, message, now)
            case HardNatStep.OPENED if attempt.plan.role is Role.PROBER and attempt.stage is Stage.READY:
                attempt.theirs = message.nat
                attempt.ports = ports_to_probe(
                    message.nat, attempt.plan.probes, self._outbox.randomness, PREDICTION_AGE_S
                )
                attempt.probe_more(now)
            case HardNatStep.OPENED if attempt.plan.role is Role.MEETER and foretellable(message.nat):
                attempt.theirs, attempt.heard = message.nat, True
                self._meet(attempt, now)
            case HardNatStep.STOP:
                self._end(now, "the peer stopped", tell=False)
            case _:
                self._outbox.count("hard_nat_stale")

    # Beginning

    def _check(self, now: float) -> None:
        for key in [key for key in self._since if self._peers.get(key) is None]:
            del self._since[key]
            self._last_words.pop(key, None)
        self._check_at = now + CHECK_INTERVAL_S if self._since else None
        if self._attempt is not None or self._questions is not None:
            return
        for key, since in self._since.items():
            peer = self._peers.get(key)
            if peer is None or now - since < NO_DIRECT_S:
                continue
            if self._limit.allows_from(key, now) <= now and self._possible(peer):
                self._begin(Attempt(peer, self._outbox.randomness.bytes(ATTEMPT_ID_SIZE), True, now), now)
                return

    def _possible(self, peer: PeerPaths) -> bool:
        """Both have UDP, as far as one sees, and can talk by a relay meanwhile."""
        if self._public is None or not peer.relay_region or not self._locator.stun_servers():
            return False
        return peer.candidates.public_v4() is not None

    def _begin(self, attempt: Attempt, now: float) -> None:
        self._limit.note(attempt.peer.node.key, now)
        self._outbox.count("hard_nat_attempt")
        self._attempt = attempt
        self._ask_or_go_on(attempt, CLASS_FRESH_S, now)

    def _ask_or_go_on(self, attempt: Attempt, fresh_s: float, now: float) -> None:
        """Go on at once while our class is fresh; else ask for it first."""
        if self._class is not None and now - self._class_at <= fresh_s:
            self._sorted(attempt, now)
        else:
            attempt.stage, attempt.next_at = Stage.SORTING, None
            self._questions = Questions(self._outbox, self._locator.stun_servers(), now)

    def _after_questions(self, now: float) -> None:
        questions = self._questions
        if questions is None or questions.next_at is not None:
            return
        self._questions = None
        self._class, self._class_at = questions.result, now
        attempt = self._attempt
        if attempt is None:
            return
        if self._class is None:
            self._end(now, "no STUN server answered", tell=True)
        else:
            self._sorted(attempt, now)

    def _sorted(self, attempt: Attempt, now: float) -> None:
        """Our class is known: tell it, or open if that was agreed already."""
        if attempt.plan.role is Role.OPENER:
            attempt.open_more(self._outbox, now)
        elif attempt.plan.role is Role.MEETER:
            self._say(attempt, HardNatStep.OPENED)
            attempt.wait_for_peer(now)
            self._meet(attempt, now)
        elif attempt.leads:
            self._offer(attempt, now)
        else:
            self._say(attempt, HardNatStep.ACCEPT)
            self._decide(attempt, now)

    def _offer(self, attempt: Attempt, now: float) -> None:
        attempt.stage = Stage.OFFERED
        attempt.offers += 1
        attempt.next_at = now + OFFER_PATIENCE_S
        self._say(attempt, HardNatStep.OFFER)

    def _offered(self, peer: PeerPaths, message: HardNat, now: float) -> None:
        """The peer leads, unless both offered at once: then the lower node key does."""
        attempt, own = self._attempt, self._context.node_key
        if not self.max_sockets or own is None:
            return
        if attempt is not None and attempt.number == message.attempt:
            return  # said twice
        if attempt is not None and attempt.peer is peer and attempt.leads and attempt.stage is Stage.OFFERED:
            if own < peer.node.key:
                return
            self._forget_attempt(now)
        elif attempt is not None or self._questions is not None:
            self._answer_busy(peer, message)
            return
        if peer.settled(now) or not self._possible(peer) or self._limit.allows_from(peer.node.key, now) > now:
            self._answer_busy(peer, message)
            return
        self._begin(Attempt(peer, message.attempt, False, now, theirs=message.nat, target=message.public), now)

    def _answer_busy(self, peer: PeerPaths, message: HardNat) -> None:
        nowhere = AddrPort(NatClass().address, 0)
        self._outbox.disco_to_node(peer.node, HardNat(HardNatStep.STOP, message.attempt, NatClass(), nowhere))

    def _say(self, attempt: Attempt, step: HardNatStep) -> None:
        nat, public = self._class or NatClass(), self._public
        if public is not None:
            self._outbox.disco_to_node(attempt.peer.node, HardNat(step, attempt.number, nat, public))

    # Going on

    def _agreed(self, attempt: Attempt, message: HardNat, now: float) -> None:
        attempt.theirs, attempt.target = message.nat, message.public
        self._decide(attempt, now)

    def _decide(self, attempt: Attempt, now: float) -> None:
        """Both classes are known to both sides: each works out its part."""
        if self._class is None or attempt.theirs is None:
            return
        attempt.plan = make_plan(self._class, attempt.theirs, self.max_sockets)
        attempt.stage = Stage.READY
        match attempt.plan.role:
            case Role.NONE:
                self._end(now, attempt.plan.why, tell=False)
            case Role.PROBER:
                attempt.next_at = now + OPENED_PATIENCE_S
            case Role.MEETER:
                self._prepare_round(attempt, now)
            case Role.OPENER if self._class.rule is PortRule.SEQUENTIAL:
                self._ask_or_go_on(attempt, SEQUENTIAL_FRESH_S, now)
            case Role.OPENER:
                attempt.open_more(self._outbox, now)

    def _socket_to_meet(self, attempt: Attempt, sockets: Sequence[SideSocket], now: float) -> None:
        attempt.sockets.extend(sockets)
        if sockets:
            self._foretell(attempt, now)
        else:
            self._end(now, "the system gave no sockets", tell=True)

    def _prepare_round(self, attempt: Attempt, now: float) -> None:
        """From the main port first; not where it may have a port toward the peer already, and nobody knows which."""
        if attempt.rounds or (self._class is not None and has_one_port(self._class)):
            attempt.open_one(self._outbox)
        else:
            self._foretell(attempt, now)

    def _foretell(self, attempt: Attempt, now: float) -> None:
        """Find out where our NAT counts now, then tell the peer."""
        counts = self._class is not None and self._class.rule is PortRule.SEQUENTIAL
        self._ask_or_go_on(attempt, MEETING_FRESH_S if counts else CLASS_FRESH_S, now)

    def _meet(self, attempt: Attempt, now: float) -> None:
        """Once both are ready each pings the next ports of the other."""
        if attempt.may_begin_round and self._class is not None and attempt.theirs is not None:
            chance, again = self._outbox.randomness, attempt.rounds > 0
            ports = ports_to_meet(self._class, attempt.theirs, chance, leads=attempt.leads, again=again)
            attempt.begin_round(ports, now)

    def _another_round(self, attempt: Attempt, now: float) -> bool:
        """Both sides decide alike: the counting may have been disturbed, and can be asked again."""
        rules = {nat.rule for nat in (self._class, attempt.theirs) if nat is not None}
        if attempt.plan.role is not Role.MEETER or rules != {PortRule.SEQUENTIAL} or attempt.rounds >= MEETING_ROUNDS:
            return False
        attempt.probing_ends = None
        self._prepare_round(attempt, now)
        return True

    def _opened(self, attempt: Attempt, now: float) -> None:
        if not attempt.sockets:
            self._end(now, "the system gave no sockets", tell=True)
        elif attempt.stock:
            self._tell_guesses(attempt, now)
        else:
            self._say(attempt, HardNatStep.OPENED)

    def _no_answer(self, attempt: Attempt, now: float) -> None:
        """Nobody of ours is there, it seems: with a stock peer only the hard side can do something."""
        target = attempt.peer.candidates.public_v4()
        if self._class is None or target is None or not is_hard(self._class):
            self._end(now, "the peer does not know how, and our NAT is not the hard one", tell=False)
            return
        attempt.stock, attempt.target = True, target
        attempt.plan = AttackPlan(Role.OPENER, min(SOCKETS_RANDOM, self.max_sockets), why="guesses for a stock peer")
        attempt.offers = 0
        attempt.open_more(self._outbox, now)

    def _tell_guesses(self, attempt: Attempt, now: float) -> None:
        """A call-me-maybe of real addresses and guessed ports: the peer pings them all at once (3.6)."""
        nat = self._class
        if nat is None or attempt.offers >= STOCK_MESSAGES:
            self._end(now, "a stock peer did not meet any of our ports", tell=False)
            return
        attempt.offers += 1
        attempt.next_at = now + STOCK_INTERVAL_S
        real = tuple(endpoint.addr_port for endpoint in self._locator.endpoints)
        ports = ports_to_probe(nat, STOCK_GUESSES - len(real), self._outbox.randomness, PREDICTION_AGE_S)
        attempt.peer.send_call_me_maybe((*real, *(AddrPort(nat.address, port) for port in ports)))

    # Ending

    def _end(self, now: float, words: str, *, tell: bool) -> None:
        attempt = self._attempt
        if attempt is None:
            return
        if tell:
            self._say(attempt, HardNatStep.STOP)
        found = attempt.peer.settled(now)
        self._last_words[attempt.peer.node.key] = "" if found else words
        self._outbox.count("hard_nat_found" if found else "hard_nat_given_up")
        self._forget_attempt(now)

    def _forget_attempt(self, now: float) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            self.shelf.finish(attempt.peer.node.key, now)

    # Timers

    def next_timer(self) -> float | None:
        deadlines = [self._check_at, self.shelf.next_timer()]
        if self._questions is not None:
            deadlines.append(self._questions.next_at)
        if self._attempt is not None:
            deadlines.append(self._attempt.deadline())
        return min((at for at in deadlines if at is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self.shelf.handle_timer(now)
        questions = self._questions
        if questions is not None and questions.next_at is not None and now >= questions.next_at:
            questions.handle_timer(now)
            self._after_questions(now)
        attempt = self._attempt
        if attempt is not None and now >= attempt.deadline():
            self._advance(attempt, now)
        if self._check_at is not None and now >= self._check_at:
            self._check(now)

    def _advance(self, attempt: Attempt, now: float) -> None:
        attempt.next_at = None
        if now < attempt.ends_at and attempt.probing_ends is not None and self._another_round(attempt, now):
            return
        if now >= attempt.ends_at or attempt.probing_ends is not None:
            self._end(now, "none of the ports met", tell=not attempt.stock)
            return
        match attempt.stage:
            case Stage.OFFERED if attempt.offers < MAX_OFFERS:
                self._offer(attempt, now)
            case Stage.OFFERED:
                self._no_answer(attempt, now)
            case Stage.READY:
                self._end(now, "the peer opened no ports", tell=True)
            case Stage.OPENING:
                attempt.open_more(self._outbox, now)
            case Stage.OPEN:
                attempt.reopen(now)
                if attempt.stock:
                    self._tell_guesses(attempt, now)
            case Stage.PROBING:
                attempt.probe_more(now)
            case Stage.SORTING:
                self._outbox.count("hard_nat_waiting")
