"""Path finding toward one peer: which address its packets take (magicsock-disco spec 3.1 to 3.9).

No IO and no clock: `now` is monotonic seconds. Actions go to the outbox of the shared context. Beyond the spec: a
path that goes silent under traffic is probed quickly and left after three misses (design 4), and a ping from a
candidate is answered with a ping of ours while no path is proven, which halves the time to a direct path.
"""

from __future__ import annotations

from appliance.magicsock.candidates import NEVER, Candidate, CandidateTable, PongRecord
from appliance.magicsock.context import PathContext
from appliance.magicsock.doubt import Doubt
from appliance.magicsock.loss import Survey
from appliance.magicsock.outbox import PingAnswered, Publish, SetPath
from appliance.magicsock.pings import Pings, SentPing
from appliance.magicsock.scoring import ProvenPath, worth_a_move
from appliance.magicsock.search import Search
from appliance.magicsock.timing import (
    DISCOVERY_INTERVAL,
    GOOD_ENOUGH_LATENCY,
    HEARTBEAT_INTERVAL,
    MAX_CALL_ME_MAYBE_ENDPOINTS,
    PING_BACK_INTERVAL,
    SESSION_ACTIVE_TIMEOUT,
    SILENCE,
    TRUST_DURATION,
    UPGRADE_INTERVAL,
)
from appliance.magicsock.view import engine_path, path_shown, same_path
from appliance.ports.underlay import PARKED, PeerActivity, PeerPath
from appliance.proto.disco import CallMeMaybe, Pong
from appliance.types.addresses import AddrPort
from appliance.types.events import PathChanged, PathKind
from appliance.types.ids import RegionId
from appliance.types.netmap import Node

_EPSILON = 1e-6
"""Timers fire a hair early on some clocks; intervals are compared with this much slack."""
_NO_REGION = RegionId(0)


class PeerPaths:
    """One peer's endpoint state machine. `next_timer()` says when `handle_timer` wants to be called."""

    def __init__(self, node: Node, context: PathContext, now: float) -> None:
        self.node = node
        self.candidates = CandidateTable()
        self.best: ProvenPath | None = None
        self.derp_latency_s: float | None = None
        self.reverse_region: RegionId = _NO_REGION
        self._context = context
        self._outbox = context.outbox
        self._generation = context.generation
        self._pings = Pings(context)
        self.trust_until = NEVER
        self._last_proof = NEVER
        self._last_active = NEVER
        self._last_full_ping = NEVER
        self._last_call_me_maybe = NEVER
        self._heartbeat_at: float | None = None
        self._heartbeat_due: float | None = None
        self._search = Search()
        self._doubt = Doubt()
        self._survey = Survey()
        self._pushed: PeerPath = PARKED
        self._told = PathChanged(node.key, PathKind.NONE)
        self._take_netmap_endpoints(now)

    # What is known

    def active(self, now: float) -> bool:
        """Whether there was traffic within the session time-out."""
        return now - self._last_active < SESSION_ACTIVE_TIMEOUT - _EPSILON

    def trusted(self, now: float) -> bool:
        """Whether packets may take `best` alone."""
        return self.best is not None and now <= self.trust_until

    def sure(self, now: float) -> bool:
        """Trusted, and no probe of it is overdue."""
        return self.trusted(now) and not self._doubt.shaken(now)

    @property
    def usable(self) -> bool:
        """Whether disco can be spoken with the peer."""
        return self.node.disco_key is not None and not self.node.expired

    @property
    def relay_region(self) -> RegionId:
        """The region by which the peer is reached, 0 = none known."""
        return self.node.home_derp or self.reverse_region

    def _push(self, now: float, again: bool = False) -> None:
        """Tell the engine and the bus when something is different; `again` tells the engine in any case."""
        path = engine_path(self, now)
        if again or path != self._pushed:
            self._pushed = path
            self._outbox.emit(SetPath(self.node.key, path))
        shown = path_shown(self, now)
        if not same_path(shown, self._told):
            self._told = shown
            self._outbox.emit(Publish(shown))

    def _set_best(self, path: ProvenPath | None) -> None:
        proven = self._context.proven
        if self.best is not None and proven.get(self.best.addr_port) == self.node.key:
            del proven[self.best.addr_port]
        self.best = path
        if path is None:
            self.trust_until = NEVER
            self._heartbeat_due = None
            self._doubt.end()
        else:
            proven[path.addr_port] = self.node.key

    # Netmap and link

    def update(self, node: Node, now: float) -> None:
        """The peer's new form. A new disco key means that it restarted: nothing proven holds any more."""
        old, self.node = self.node, node
        if old.disco_key != node.disco_key:
            self._forget_proofs()
        if node.expired:
            self._forget_proofs()
            self._last_active = NEVER
            self._park(now)
            return
        fresh = self._take_netmap_endpoints(now)
        moved = old.disco_key != node.disco_key or old.home_derp != node.home_derp
        if self.active(now) and (fresh or moved) and not self.settled(now):
            self._seek(now)
        self._push(now)

    def _take_netmap_endpoints(self, now: float) -> bool:
        """Whether there was a new one among them."""
        return self.candidates.set_netmap(list(filter(self._context.acceptable, self.node.endpoints)), now)

    def link_changed(self, now: float) -> None:
        """A major change of our own network: everything must be proven anew."""
        self._forget_proofs()
        if self.active(now):
            self._seek(now)
        self._push(now)

    def _forget_proofs(self) -> None:
        self._generation = self._context.generation
        self._set_best(None)
        self._pings.clear()
        self._last_call_me_maybe = NEVER
        for candidate in self.candidates:
            candidate.clear_history()

    def remove(self) -> None:
        """The peer left the netmap."""
        self._set_best(None)

    # Activity, told by the engine

    def wanted(self, now: float) -> None:
        """A packet waits: DERP at once, and every candidate is tried."""
        self._activate(now)
        self._push(now, again=True)

    def _activate(self, now: float) -> None:
        woken = not self.active(now)
        self._last_active = now
        if not self.usable:
            return
        if self._generation != self._context.generation:
            self._forget_proofs()
        if woken or self._heartbeat_at is None:
            self._heartbeat_at = now + HEARTBEAT_INTERVAL
            if not self.settled(now):
                self._seek(now)

    def settled(self, now: float) -> bool:
        """Whether there is a direct path that is believed."""
        return self.best is not None and self.best.direct and self.trusted(now)

    def activity(self, report: PeerActivity, now: float) -> None:
        """Traffic of the last second. Sending while nothing comes back by UDP raises doubt."""
        if report.tx_bytes or report.rx_bytes:
            self._activate(now)
        if report.source is not None and report.rx_direct:
            self._saw_source(report.source, now)
        if report.tx_bytes and not report.rx_direct and self.trusted(now):
            self._raise_doubt(now)
        self._push(now)

    def _saw_source(self, source: AddrPort, now: float) -> None:
        """The peer's packets come from an address that is not ours to it: it roamed, or we use another way."""
        if not self.usable or not self._context.acceptable(source):
            return
        if self.best is not None and self.best.addr_port == source:
            return
        known = source in self.candidates
        candidate = self._learn(source, now)
        if candidate is None:
            return
        candidate.last_got_ping = now
        if not known:
            self._ping(source, now)
            candidate.last_ping = now

    def relay_traffic(self, region: RegionId, now: float) -> None:
        """WireGuard packets of the peer came by DERP: it may have lost the direct path that we still believe in."""
        self.heard_by_derp(region, now)
        if self.trusted(now) and self.active(now):
            self._raise_doubt(now)

    def heard_by_derp(self, region: RegionId, now: float) -> None:
        if region != self.reverse_region:
            self.reverse_region = region
            self._push(now)

    def gone_from_derp(self, region: RegionId, now: float) -> None:
        if self.reverse_region == region:
            self.reverse_region = _NO_REGION
            self._push(now)

    def send_failed(self, to: AddrPort, now: float) -> None:
        """The host has no route to the address: it is no path until it answers again (3.3)."""
        candidate = self.candidates.get(to)
        if candidate is not None:
            candidate.pongs.clear()
        if self.best is not None and self.best.addr_port == to:
            self._set_best(None)
            if self.active(now):
                self._seek(now)
            self._push(now)

    def _learn(self, address: AddrPort, now: float) -> Candidate | None:
        """The candidate of the address, made when new; None when there are too many."""
        candidate = self.candidates.add(address, now, self.best.addr_port if self.best else None)
        if candidate is None:
            self._outbox.count("candidate_no_room")
        return candidate

    # Pings out

    def _ping(self, to: AddrPort, now: float, token: int | None = None) -> None:
        self._pings.send(self.node, SentPing(b"", to, now, token, counted=self.candidates.answers(to, now)))

    def probe(self, to: AddrPort, now: float, socket: int = 0) -> None:
        """Ping a guessed address, or from a side socket; an answer proves the path (hard NATs, 4.3)."""
        if self.usable and self._context.acceptable(to):
            self._pings.send(self.node, SentPing(b"", to, now, socket=socket, probe=True))

    def _ping_best(self, best: ProvenPath, now: float, token: int | None = None) -> None:
        """Along the path itself, through its relay where it has one."""
        counted = best.direct and self.candidates.answers(best.addr_port, now)
        self._pings.send(self.node, SentPing(b"", best.addr_port, now, token, best.vni, counted, best.socket))

    def ping_for_person(self, token: int, now: float) -> None:
        """Ping the proven path, or everything when there is none; also wakes the session."""
        self._activate(now)
        self._push(now)
        if self.best is not None and self.trusted(now):
            self._ping_best(self.best, now, token)
            return
        if self.relay_region:
            self._pings.send_by_derp(self.node, now, token)
        for candidate in self.candidates:
            self._ping(candidate.addr_port, now, token)

    def _seek(self, now: float, *, call_me_maybe: bool = True) -> None:
        """Look for a direct path: soon again at first, then every 5 s until one is proven."""
        self._search.begin(now)
        self._full_ping(now, call_me_maybe=call_me_maybe, at_once=True)
        self._search.plan(now)

    def _full_ping(self, now: float, *, call_me_maybe: bool, at_once: bool = False) -> None:
        """Ping every candidate that was not pinged within 5 s (3.5); `at_once` ignores that limit."""
        if not self.usable:
            return
        self._last_full_ping = now
        sent = 0
        for candidate in self.candidates:
            if candidate.deletable(now) and not self._is_trusted_best(candidate, now):
                self._drop(candidate.addr_port)
            elif at_once or now - candidate.last_ping >= DISCOVERY_INTERVAL - _EPSILON:
                candidate.last_ping = now
                self._ping(candidate.addr_port, now)
                sent += 1
        if call_me_maybe and (sent or not len(self.candidates)):
            self._want_call_me_maybe(now)

    def _is_trusted_best(self, candidate: Candidate, now: float) -> bool:
        return self._is_direct_best(candidate.addr_port) and self.trusted(now)

    def _is_direct_best(self, address: AddrPort) -> bool:
        """A relay may stand at an address that is a candidate too."""
        return self.best is not None and self.best.direct and self.best.addr_port == address

    def _drop(self, address: AddrPort) -> None:
        self.candidates.remove(address)
        if self._is_direct_best(address):
            self._set_best(None)

    def _want_call_me_maybe(self, now: float) -> None:
        if self.relay_region and now - self._last_call_me_maybe >= DISCOVERY_INTERVAL - _EPSILON:
            self._last_call_me_maybe = now
            self._context.call_me_maybe_wanted.append(self.node.key)

    def send_call_me_maybe(self, endpoints: tuple[AddrPort, ...]) -> None:
        """Ask the peer to ping our endpoints, which opens its NAT toward us."""
        if self.usable and endpoints:
            self._outbox.disco_to_node(self.node, CallMeMaybe(endpoints))

    # Disco in (the receiver has opened the box and knows that it is this peer)

    def receive_ping(self, source: AddrPort, now: float) -> None:
        """A ping came by UDP from `source`: it is a candidate now (3.7). The pong is the receiver's work."""
        if not self.usable or not self._context.acceptable(source):
            return
        candidate = self._learn(source, now)
        if candidate is None:
            return
        candidate.last_got_ping = now
        wants = self.active(now) and (not self.settled(now) or self._doubt.running)
        if wants and now - candidate.last_ping_back >= PING_BACK_INTERVAL - _EPSILON:
            candidate.last_ping_back = now
            self._ping(source, now)
        elif self.best is not None and self.best.addr_port != source:
            self._other_way(now)

    def _other_way(self, now: float) -> None:
        """The peer comes by another address than the one we use: ours may have died without it knowing."""
        if self.active(now) and now - self._last_proof >= SILENCE:
            self._raise_doubt(now)

    def receive_pong(self, pong: Pong, now: float, *, by_derp: bool = False, vni: int | None = None) -> bool:
        """Whether the pong answers a ping of ours; if so the path that was pinged is proven (3.8).

        `vni`: it came through a peer relay.
        """
        sent = self._pings.take(pong.tx_id, by_derp, vni)
        if sent is None:
            return False
        latency = max(0.0, now - sent.at)
        if sent.token is not None:
            region = self.relay_region if sent.to is None else None
            self._outbox.emit(PingAnswered(sent.token, latency, sent.to, region, sent.vni))
        if sent.to is None:
            self.derp_latency_s = latency
            return True
        if sent.vni is not None:
            self._proven(ProvenPath(sent.to, latency, vni=sent.vni), now)
            return True
        candidate = self._learn(sent.to, now) if sent.probe else self.candidates.get(sent.to)
        if candidate is not None:
            candidate.pongs.append(PongRecord(latency, now, pong.source))
            if sent.counted:
                candidate.loss.note(True)
            self._proven(candidate.measured(latency, self.best, sent.socket), now)
        return True

    def _proven(self, path: ProvenPath, now: float) -> None:
        if not self.trusted(now) or self._doubt.shaken(now) or worth_a_move(path, self.best):
            self._set_best(path)
        if self.best is not None and self.best.same_address(path):
            self.best = path
            self.trust_until = now + TRUST_DURATION
            self._last_proof = now
            self._heartbeat_due = None
            if path.direct:
                self._search.stop()
            self._doubt.end()
            self._push(now)

    def relay_proven(self, path: ProvenPath, now: float, *, same_relay: bool) -> bool:
        """The relay manager got a pong through a relay. Whether that is the path now (5.5).

        `same_relay`: the path in use, if it is a relayed one, goes by the same relay, whose newer number counts.
        """
        if same_relay and self.best is not None and not self.best.direct:
            self._set_best(path)
        self._proven(path, now)
        return self.best is not None and self.best.same_address(path)

    def receive_call_me_maybe(self, message: CallMeMaybe, now: float) -> None:
        """The peer's own list: earlier entries that it lacks are gone; everything is pinged at once (3.6)."""
        if not self.usable:
            return
        for endpoint in message.endpoints[:MAX_CALL_ME_MAYBE_ENDPOINTS]:
            if self._context.acceptable(endpoint):
                candidate = self._learn(endpoint, now)
                if candidate is None:
                    break
                candidate.call_me_maybe_at = now
        for candidate in self.candidates:
            if candidate.call_me_maybe_at not in (NEVER, now):
                self._drop(candidate.addr_port)
        if self.active(now) and not self.settled(now):
            self._seek(now, call_me_maybe=False)
        else:
            self._full_ping(now, call_me_maybe=False, at_once=True)
        self._push(now)

    # Doubt

    def _raise_doubt(self, now: float) -> None:
        if self._doubt.raise_(now):
            self._probe_quickly(now)

    def _probe_quickly(self, now: float) -> None:
        if self.best is None:
            self._doubt.end()
        elif self._doubt.probe(now, self.best.latency_s):
            self._ping_best(self.best, now)
        else:
            self._leave_best(now)

    def _leave_best(self, now: float) -> None:
        """Three misses: the relay carries packets at once, the old path only as a copy until it times out."""
        self._outbox.count("path_left")
        self.candidates.forget_loss(self.best)
        self._context.path_left = True
        self._doubt.end()
        self._heartbeat_due = None
        self.trust_until = NEVER
        self._seek(now)
        self._push(now)

    # Timers

    def next_timer(self) -> float | None:
        """When `handle_timer` has work, None = never."""
        deadlines = [self._pings.next_timeout()]
        if self._pushed != PARKED or self._heartbeat_at is not None:
            deadlines += [self._heartbeat_at, self._heartbeat_due, self._search.next_at, self._doubt.next_at]
            deadlines.append(self._survey.next_at)
            if self._last_active != NEVER:
                deadlines.append(self._last_active + SESSION_ACTIVE_TIMEOUT)
            if self._pushed.direct is not None and not self._pushed.relay and self.trust_until != NEVER:
                deadlines.append(self.trust_until + _EPSILON)
        return min((at for at in deadlines if at is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self._expire_pings(now)
        if not self.active(now):
            self._park(now)
            return
        if self._heartbeat_due is not None and now >= self._heartbeat_due:
            self._heartbeat_due = None
            self._raise_doubt(now)
        if self._doubt.next_at is not None and now >= self._doubt.next_at:
            self._probe_quickly(now)
        if self._heartbeat_at is not None and now >= self._heartbeat_at:
            self._heartbeat(now)
        if self._search.next_at is not None and now >= self._search.next_at:
            self._discover(now)
        if self._survey.due(now):  # the path in use loses packets: measure it and what else answers side by side
            for address in self.candidates.answering(now, everybody=self._survey.first):
                self._ping(address, now)
        if self.best is not None and now > self.trust_until != NEVER:
            self.trust_until = NEVER
            self._search.start_over(now)
        self._push(now)

    def _expire_pings(self, now: float) -> None:
        for ping in self._pings.expire(now):
            if ping.counted:
                self.candidates.note_lost(ping.to)
            if self.best is None or self.trusted(now):
                continue
            if (ping.to, ping.vni) == (self.best.addr_port, self.best.vni):
                self._set_best(None)

    def _park(self, now: float) -> None:
        """Idle: the next packet wakes us through `wanted`; nothing keeps mappings open meanwhile (3.4)."""
        self._heartbeat_at = self._heartbeat_due = None
        self._search.stop()
        self._doubt.end()
        self._survey.stop()
        self._push(now)

    def _heartbeat(self, now: float) -> None:
        self._heartbeat_at = now + HEARTBEAT_INTERVAL
        if self.best is not None:
            self._ping_best(self.best, now)
            if self.trusted(now) and not self._doubt.running:
                self._heartbeat_due = now + max(SILENCE, 3 * self.best.latency_s)
        if self.settled(now) and self.best is not None:
            upgrade = self.best.latency_s > GOOD_ENOUGH_LATENCY and now - self._last_full_ping >= UPGRADE_INTERVAL
            if upgrade or self._last_full_ping == NEVER:
                self._full_ping(now, call_me_maybe=True)
            if self.candidates.loses(self.best.addr_port):
                self._survey.begin(now)

    def _discover(self, now: float) -> None:
        if self.settled(now):
            self._search.stop()
        else:
            self._full_ping(now, call_me_maybe=True, at_once=self._search.early)
            self._search.plan(now)
