"""Path finding toward one peer: which address its packets take (magicsock-disco spec 3.1 to 3.9).

It joins what is looked for (`discovery`) with what is proven (`belief`), on the events of engine, netmap, disco, time.

No IO and no clock: `now` is monotonic seconds. Actions go to the outbox of the shared context. Beyond the spec: a
path that goes silent under traffic is probed quickly and left after three misses (design 4), and a ping from a
candidate is answered with a ping of ours while no path is proven, which halves the time to a direct path.
"""

from __future__ import annotations

from dataclasses import replace

from appliance.magicsock.belief import Belief
from appliance.magicsock.candidates import CandidateTable, PongRecord
from appliance.magicsock.context import PathContext
from appliance.magicsock.discovery import Discovery
from appliance.magicsock.idle_path import Idle, IdlePath
from appliance.magicsock.outbox import PingAnswered, Publish, SetPath
from appliance.magicsock.scoring import ProvenPath
from appliance.magicsock.timing import (
    HEARTBEAT_INTERVAL,
    NEVER,
    PING_BACK_INTERVAL,
    SESSION_ACTIVE_TIMEOUT,
    SILENCE,
    SLACK,
)
from appliance.magicsock.view import engine_path, path_shown, same_path
from appliance.ports.underlay import PARKED, PeerActivity, PeerPath
from appliance.proto.disco import CallMeMaybe, Pong
from appliance.types.addresses import AddrPort
from appliance.types.events import PathChanged, PathKind
from appliance.types.ids import NO_REGION, RegionId
from appliance.types.netmap import Node


class PeerPaths:
    """One peer's endpoint state machine. `next_timer()` says when `handle_timer` wants to be called."""

    def __init__(self, node: Node, context: PathContext, now: float) -> None:
        self.belief = Belief(node.key, context)
        self.derp_latency_s: float | None = None
        self._context = context
        self._outbox = context.outbox
        self._generation = context.generation
        self._discovery = Discovery(node, context, self.belief)
        self._last_active = NEVER
        self._heartbeat_at: float | None = None
        self.idle = IdlePath()
        self._pushed: PeerPath = PARKED
        self._told = PathChanged(node.key, PathKind.NONE)
        self._discovery.take_netmap_endpoints(now)

    # What is known

    @property
    def node(self) -> Node:
        return self._discovery.node

    @property
    def best(self) -> ProvenPath | None:
        """The path in use."""
        return self.belief.best

    @property
    def candidates(self) -> CandidateTable:
        return self._discovery.candidates

    def active(self, now: float) -> bool:
        """Whether there was traffic within the session time-out."""
        return now - self._last_active < SESSION_ACTIVE_TIMEOUT - SLACK

    def trusted(self, now: float) -> bool:
        """Whether packets may take `best` alone."""
        return self.belief.trusted(now)

    def settled(self, now: float) -> bool:
        """Whether there is a direct path that is believed."""
        return self.belief.settled(now)

    @property
    def usable(self) -> bool:
        """Whether disco can be spoken with the peer."""
        return self._discovery.usable

    @property
    def relay_region(self) -> RegionId:
        """The region by which the peer is reached, 0 = none known."""
        return self._discovery.relay_region

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

    # Netmap and link

    def update(self, node: Node, now: float) -> None:
        """The peer's new form. A new disco key means that it restarted: nothing proven holds any more."""
        old, self._discovery.node = self.node, node
        if old.disco_key != node.disco_key:
            self._forget_proofs()
        if node.expired:
            self._forget_proofs()
            self._last_active = NEVER
            self._park(now)
            return
        fresh = self._discovery.take_netmap_endpoints(now)
        moved = old.disco_key != node.disco_key or old.home_derp != node.home_derp
        if self.active(now) and (fresh or moved) and not self.settled(now):
            self._discovery.seek(now)
        self._push(now)

    def link_changed(self, now: float) -> None:
        """A major change of our own network: everything must be proven anew."""
        self._forget_proofs()
        if self.active(now):
            self._discovery.seek(now)
        self._push(now)

    def _forget_proofs(self) -> None:
        self._generation = self._context.generation
        self.belief.set(None)
        self.idle.forget()
        self._discovery.forget()

    def remove(self) -> None:
        """The peer left the netmap."""
        self.belief.set(None)

    # Activity, told by the engine

    def wanted(self, now: float) -> None:
        """A packet waits: DERP at once, and every candidate is tried."""
        self._activate(now)
        self._push(now, again=True)

    def _activate(self, now: float) -> None:
        woken = not self.active(now)
        self._last_active = now
        self.idle.stop()
        if not self.usable:
            return
        if self._generation != self._context.generation:
            self._forget_proofs()
        if woken or self._heartbeat_at is None:
            self._heartbeat_at = now + HEARTBEAT_INTERVAL
            if not self.settled(now):
                self._discovery.seek(now)

    def activity(self, report: PeerActivity, now: float) -> None:
        """Traffic of the last second. Sending while nothing comes back by UDP raises doubt."""
        if report.tx_bytes or report.rx_bytes:
            self._activate(now)
        if report.rx_direct:
            self.belief.carried(report.source, now)
            if report.source is not None:
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
        candidate = self._discovery.learn(source, now)
        if candidate is None:
            return
        candidate.last_got_ping = now
        if not known:
            self._discovery.ping(source, now)
            candidate.last_ping = now

    def relay_traffic(self, region: RegionId, now: float) -> None:
        """WireGuard packets of the peer came by DERP: it may have lost the direct path that we still believe in."""
        self.heard_by_derp(region, now)
        if self.trusted(now) and self.active(now):
            self._raise_doubt(now)

    def heard_by_derp(self, region: RegionId, now: float) -> None:
        if region != self._discovery.reverse_region:
            self._discovery.reverse_region = region
            self._push(now)

    def gone_from_derp(self, region: RegionId, now: float) -> None:
        if self._discovery.reverse_region == region:
            self._discovery.reverse_region = NO_REGION
            self._push(now)

    def send_failed(self, to: AddrPort, now: float) -> None:
        """The host has no route to the address: it is no path until it answers again (3.3)."""
        candidate = self.candidates.get(to)
        if candidate is not None:
            candidate.pongs.clear()
        if self.best is not None and self.best.addr_port == to:
            self.belief.set(None)
            if self.active(now):
                self._discovery.seek(now)
            self._push(now)

    # For people, and for those who guess

    def ping_for_person(self, token: int, now: float) -> None:
        """Ping the proven path, or everything when there is none; also wakes the session."""
        self._activate(now)
        self._push(now)
        if self.best is not None and self.trusted(now):
            self._discovery.ping_path(self.best, now, token)
            self._discovery.ask_sizes(self.best, now)
        else:
            self._discovery.ping_everything(token, now)

    def probe(self, to: AddrPort, now: float, socket: int = 0) -> None:
        """Ping a guessed address, or from a side socket; an answer proves the path (hard NATs, 4.3)."""
        self._discovery.probe(to, now, socket)

    def use_socket(self, socket: int) -> None:
        """The path in use goes by another of our side sockets from now on."""
        if self.best is not None:
            self.belief.best = replace(self.best, socket=socket)

    def send_call_me_maybe(self, endpoints: tuple[AddrPort, ...]) -> None:
        """Ask the peer to ping our endpoints, which opens its NAT toward us."""
        if self.usable and endpoints:
            self._outbox.disco_to_node(self.node, CallMeMaybe(endpoints))

    # Disco in (the receiver has opened the box and knows that it is this peer)

    def receive_ping(self, source: AddrPort, now: float) -> None:
        """A ping came by UDP from `source`: it is a candidate now (3.7). The pong is the receiver's work."""
        if not self.usable or not self._context.acceptable(source):
            return
        candidate = self._discovery.learn(source, now)
        if candidate is None:
            return
        candidate.last_got_ping = now
        if self.belief.is_direct(source):
            self.idle.heard(now)
        wants = self.active(now) and (not self.settled(now) or self.belief.doubt.running)
        if wants and now - candidate.last_ping_back >= PING_BACK_INTERVAL - SLACK:
            candidate.last_ping_back = now
            self._discovery.ping(source, now)
        elif self.best is not None and self.best.addr_port != source:
            self._other_way(now)

    def _other_way(self, now: float) -> None:
        """The peer comes by another address than the one we use: ours may have died without it knowing."""
        if self.active(now) and now - self.belief.proven_at >= SILENCE:
            self._raise_doubt(now)

    def receive_pong(self, pong: Pong, now: float, *, by_derp: bool = False, vni: int | None = None) -> bool:
        """Whether the pong answers a ping of ours; if so the path that was pinged is proven (3.8).

        `vni`: it came through a peer relay.
        """
        sent = self._discovery.pings.take(pong.tx_id, by_derp, vni)
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
        candidate = self._discovery.learn(sent.to, now) if sent.probe else self.candidates.get(sent.to)
        if candidate is not None and sent.size:
            candidate.mtu.answered(sent.size)
        elif candidate is not None:
            candidate.pongs.append(PongRecord(latency, now, pong.source))
            if sent.counted:
                candidate.loss.note(True)
            self._proven(candidate.measured(latency, self.best, sent.socket), now)
        return True

    def _proven(self, path: ProvenPath, now: float) -> None:
        if self.belief.prove(path, now):
            if path.direct:
                self._discovery.search.stop()
                self.idle.answered(now)
            self._push(now)

    def relay_proven(self, path: ProvenPath, now: float, *, same_relay: bool) -> bool:
        """The relay manager got a pong through a relay. Whether that is the path now (5.5).

        `same_relay`: the path in use, if it is a relayed one, goes by the same relay, whose newer number counts.
        """
        if same_relay and self.best is not None and not self.best.direct:
            self.belief.set(path)
        self._proven(path, now)
        return self.best is not None and self.best.same_address(path)

    def receive_call_me_maybe(self, message: CallMeMaybe, now: float) -> None:
        """The peer's own list: everything is pinged at once (3.6)."""
        if not self.usable:
            return
        self._discovery.take_call_me_maybe(message, now)
        if self.active(now) and not self.settled(now):
            self._discovery.seek(now, call_me_maybe=False)
        else:
            self._discovery.full_ping(now, call_me_maybe=False, at_once=True)
        self._push(now)

    # Doubt

    def _raise_doubt(self, now: float) -> None:
        if self.belief.doubt.raise_(now):
            self._probe_quickly(now)

    def _probe_quickly(self, now: float) -> None:
        if self.best is None:
            self.belief.doubt.end()
        elif self.belief.doubt.probe(now, self.best.latency_s):
            self._discovery.ping_path(self.best, now)
            if self.belief.doubt.last_probe:
                self._discovery.full_ping(now, call_me_maybe=False, at_once=True)
        else:
            self._leave_best(now)

    def _leave_best(self, now: float) -> None:
        """Three misses: the relay carries packets at once, the old path only as a copy until it times out."""
        self._outbox.count("path_left")
        self.candidates.forget_loss(self.best)
        self._context.path_left = True
        self.belief.doubt.end()
        self.belief.distrust()
        self._discovery.seek(now)
        self._push(now)

    # Timers

    def next_timer(self) -> float | None:
        """When `handle_timer` has work, None = never."""
        deadlines = [self._discovery.pings.next_timeout(), self.idle.next_at]
        if self._pushed != PARKED or self._heartbeat_at is not None:
            deadlines += [self._heartbeat_at, self.belief.answer_due, self.belief.doubt.next_at]
            deadlines += [self._discovery.search.next_at, self._discovery.survey.next_at]
            if self._last_active != NEVER:
                deadlines.append(self._last_active + SESSION_ACTIVE_TIMEOUT)
            if self._pushed.direct is not None and not self._pushed.relay and self.belief.trust_until != NEVER:
                deadlines.append(self.belief.trust_until + SLACK)
        return min((at for at in deadlines if at is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self._expire_pings(now)
        if not self.active(now):
            self._park(now)
            self._keep_idle(now)
            return
        if self.belief.answer_overdue(now):
            self._raise_doubt(now)
        doubt, search = self.belief.doubt, self._discovery.search
        if doubt.next_at is not None and now >= doubt.next_at:
            self._probe_quickly(now)
        if self._heartbeat_at is not None and now >= self._heartbeat_at:
            self._heartbeat(now)
        if search.next_at is not None and now >= search.next_at:
            self._discovery.go_on(now)
        self._discovery.survey_if_due(now)
        if self.best is not None and now > self.belief.trust_until != NEVER:
            self.belief.trust_until = NEVER
            search.start_over(now)
        self._push(now)

    def _expire_pings(self, now: float) -> None:
        """What answers no ping is no path, unless the peer's packets still come along it: where a kernel forwards for a
        daemon that is gone, copies of ours are its only traffic."""
        for ping in self._discovery.pings.expire(now):
            if ping.counted:
                self.candidates.note_lost(ping.to)
            if self.best is None or self.trusted(now) or ping.size or self.belief.carries(now):
                continue
            if (ping.to, ping.vni) == (self.best.addr_port, self.best.vni):
                self.belief.set(None)

    def _park(self, now: float) -> None:
        """Idle: the next packet wakes us through `wanted`; nothing keeps mappings open meanwhile (3.4)."""
        self._heartbeat_at = None
        self._discovery.rest()
        self.belief.rest()
        self._push(now)

    def _keep_idle(self, now: float) -> None:
        """Unless it is our part to keep the direct path that the session leaves behind (3.10)."""
        if self.best is None:
            self.idle.stop()
            return
        if self._keeps_idle and self.settled(now) and not self.best.socket:
            self.idle.begin(self.best.addr_port, self.belief.proven_at, now)
        match self.idle.step(now):
            case Idle.PING:
                self._discovery.ping_path(self.best, now)
            case Idle.DEAD:
                self._outbox.count("idle_path_died")
                self.belief.set(None)
                self._push(now)

    @property
    def _keeps_idle(self) -> bool:
        """One of the two does it, the one with the lower disco key."""
        theirs = self.node.disco_key
        return self._context.keeps_idle and theirs is not None and self._outbox.keys.public < theirs

    def _heartbeat(self, now: float) -> None:
        self._heartbeat_at = now + HEARTBEAT_INTERVAL
        if self.best is not None:
            self._discovery.ping_path(self.best, now)
            self.belief.expect_answer(now)
        if self.settled(now) and self.best is not None:
            self._discovery.look_for_better(self.best, now)
            self._discovery.ask_sizes(self.best, now)
