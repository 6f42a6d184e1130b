"""Magicsock as one sans-IO machine: events in by method, actions out by `next_action()` (magicsock-disco spec 3).

It joins the peers' path machines, the disco receiver and the locator. The cost of an event does not grow with the
number of peers: they are found by key, and their timers live in a heap.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from appliance.magicsock.context import PathContext, single_overlay_addresses
from appliance.magicsock.hard_nat.desk import HardNatDesk, SideRoute
from appliance.magicsock.locator import Locator
from appliance.magicsock.netcheck.home import LastFrameAt
from appliance.magicsock.outbox import Action, Outbox, Publish, Rebind, RelayAsked
from appliance.magicsock.peer import PeerPaths
from appliance.magicsock.peers import PeerTable
from appliance.magicsock.receiver import DiscoReceiver
from appliance.magicsock.relays.manager import RelayManager
from appliance.magicsock.schedule import Schedule
from appliance.magicsock.status import HairpinSeen, PathStatus, PortMappingSeen
from appliance.magicsock.timing import CALL_ME_MAYBE_WAIT, NEVER, REBIND_INTERVAL
from appliance.magicsock.view import path_status
from appliance.ports.randomness import Randomness
from appliance.ports.side_ports import SideSocket
from appliance.ports.underlay import PeerActivity
from appliance.proto.disco import DiscoKeys, PacketKind, RelayEndpoint, classify
from appliance.proto.stun import parse_response
from appliance.types.addresses import Address, AddrPort
from appliance.types.errors import DecodeError
from appliance.types.events import PathKind
from appliance.types.ids import RegionId
from appliance.types.keys import DiscoPublicKey, NodePublicKey
from appliance.types.netmap import DerpMap, NetmapDiff, Node

_UNREACHABLE = frozenset((errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL))
_SOCKET_BROKEN = frozenset((errno.EPERM, errno.EBADF, errno.ENOTCONN))

Owner = NodePublicKey | Literal["locator", "call-me-maybe", "relays", "hard-nat"]


class Magicsock:
    """All `now` are monotonic seconds and never run back. After each call drain `next_action()`, then ask
    `next_timer()`."""

    def __init__(self, keys: DiscoKeys, randomness: Randomness, last_frame_at: LastFrameAt) -> None:
        self._outbox = Outbox(keys, randomness)
        self._context = PathContext(self._outbox)
        self._peers = PeerTable(self._context)
        self._relays = RelayManager(self._context, self._peers)
        self._receiver = DiscoReceiver(self._context, self._peers, self._relays)
        self.locator = Locator(self._context, last_frame_at)
        self.hard_nat = HardNatDesk(self._context, self._peers, self.locator)
        self._schedule: Schedule[Owner] = Schedule()
        self._waiting_for_endpoints: dict[NodePublicKey, None] = {}
        self._last_rebind = NEVER
        self._own_addresses: tuple[Address, ...] = ()
        self._hairpin = b""

    # What is known

    @property
    def disco_public_key(self) -> DiscoPublicKey:
        return self._outbox.keys.public

    @property
    def counters(self) -> Mapping[str, int]:
        return dict(self._outbox.counters)

    def home_of(self, peer: NodePublicKey) -> RegionId | None:
        """The peer's home region (0 = unknown), None for somebody outside the netmap."""
        known = self._peers.get(peer)
        return None if known is None else known.node.home_derp

    def disco_key_of(self, peer: NodePublicKey) -> DiscoPublicKey | None:
        """The disco key in use toward the peer: control's, or one that the peer told since."""
        known = self._peers.get(peer)
        return None if known is None else known.node.disco_key

    def status(self, peer: NodePublicKey, now: float) -> PathStatus | None:
        known = self._peers.get(peer)
        if known is None:
            return None
        status = path_status(known, now)
        words = self.hard_nat.words_on(peer) if status.kind is PathKind.DERP else ""
        return replace(status, why=f"{status.why}; {words}") if words else status

    def next_action(self) -> Action | None:
        return self._outbox.next_action()

    # Configuration

    def set_node_key(self, key: NodePublicKey | None, now: float) -> None:
        """Our own node key; None = logged out, disco is silent."""
        self._context.node_key = key
        if key is not None:
            self.locator.restun(now)
        self._settle(now)

    def set_self(self, node: Node) -> None:
        """Our own node, whose overlay addresses are never endpoints."""
        self._context.remove_overlay(self._own_addresses)
        self._own_addresses = single_overlay_addresses(node)
        self._context.add_overlay(self._own_addresses)

    def set_derp_map(self, derp_map: DerpMap, now: float) -> None:
        self.locator.set_derp_map(derp_map, now)
        self._settle(now)

    def set_static_endpoints(self, endpoints: Sequence[AddrPort], now: float) -> None:
        self.locator.own.set_static(endpoints)
        self.locator.restun(now)
        self._settle(now)

    def set_probes(self, *, sizes: bool, lifetimes: bool) -> None:
        """Which optional measurements are made (3.10): how large packets may be, how long an idle path lives."""
        self._context.asks_sizes, self._context.keeps_idle = sizes, lifetimes

    def set_relays(self, servers: frozenset[NodePublicKey], *, enabled: bool, now: float) -> None:
        """Peers that the policy lets us use as relays; `enabled` False: none may be used, whoever offers one."""
        self._relays.servers, self._relays.enabled = servers, enabled
        for owner in self._schedule.owners() if servers else ():
            peer = self._peers.get(owner) if isinstance(owner, NodePublicKey) else None
            if peer is not None:
                self._relays.consider(peer, now)
        self._settle(now)

    def relay_offered(self, asked: RelayAsked, endpoint: RelayEndpoint, now: float) -> None:
        """This node's own relay takes the two clients of `asked`."""
        self._relays.offer(asked, endpoint, now)
        self._settle(now)

    def set_port_mapping(self, mapping: PortMappingSeen, now: float) -> None:
        self.locator.set_port_mapping(mapping, now)
        self._settle(now)

    def set_control_connected(self, connected: bool) -> None:
        self.locator.set_control_connected(connected)

    def apply(self, diff: NetmapDiff, now: float) -> None:
        """What changed in the netmap; nothing else is touched."""
        first = not self.locator.has_peers
        for key in self._peers.apply(diff, now):
            self._forget_relays(key, diff)
            self._reschedule(key)
        self.locator.has_peers = bool(len(self._peers))
        if first and self.locator.has_peers:
            self.locator.restun(now)
        self._settle(now)

    def _forget_relays(self, key: NodePublicKey, diff: NetmapDiff) -> None:
        """A peer that left or restarted is known to no relay any more."""
        peer = self._peers.get(key)
        previous = diff.previous.get(peer.node.id) if peer is not None else None
        if peer is None or (previous is not None and previous.disco_key != peer.node.disco_key):
            self._relays.forget(key)

    def learn_disco_key(self, peer: NodePublicKey, disco_key: DiscoPublicKey, now: float) -> bool:
        """The peer told its disco key through its tunnel (1.8). False: nothing changed."""
        if disco_key == self.disco_public_key or not self._peers.learn(peer, disco_key, now):
            return False
        self._outbox.count("disco_key_learned")
        self._relays.forget(peer)
        self._reschedule(peer)
        self._settle(now)
        return True

    def receive_interfaces(self, addresses: Sequence[Address], ports: Sequence[AddrPort], now: float) -> None:
        """Answer to `ReadInterfaces`."""
        self.locator.receive_interfaces(addresses, ports)
        self.locator.start_queued(now)
        self._settle(now)

    def link_changed(self, major: bool, now: float) -> None:
        """The host's network changed. A major change voids what was proven, for active peers at once."""
        if major:
            self._context.generation += 1
            self._last_rebind = now
            self._outbox.emit(Rebind(derp=True))
            self._relays.reset()
            self._forget_active(now)
            self.hard_nat.link_changed(now)
        self.locator.link_changed(major, now)
        self._settle(now)

    def _forget_active(self, now: float) -> None:
        """Peers with timers are the active ones; the others notice when they wake."""
        for owner in self._schedule.owners():
            peer = self._peers.get(owner) if isinstance(owner, NodePublicKey) else None
            if peer is not None:
                peer.link_changed(now)
                self._reschedule(peer.node.key)

    # The engine's side

    def wanted(self, key: NodePublicKey, now: float) -> None:
        """A packet waits for a parked peer."""
        peer = self._peers.get(key)
        if peer is None:
            self._outbox.count("wanted_unknown_peer")
            return
        peer.wanted(now)
        self.locator.active(now)
        self._touched(peer, now)
        self._settle(now)

    def activity(self, reports: Sequence[PeerActivity], now: float) -> None:
        for report in reports:
            peer = self._peers.get(report.peer)
            if peer is None:
                continue
            peer.activity(self.hard_nat.completed(report, now), now)
            if report.tx_bytes or report.rx_bytes:
                self.locator.active(now)
            self._touched(peer, now)
        self._settle(now)

    def send_failed(self, key: NodePublicKey | None, to: AddrPort, code: int | None, now: float) -> None:
        """The kernel refused a send with errno `code`. `key` None: it was disco or STUN."""
        self._outbox.count("send_failed")
        if code in _UNREACHABLE:
            known = key if key is not None else self._context.proven.get(to)
            peer = self._peers.get(known) if known is not None else None
            if peer is not None:
                peer.send_failed(to, now)
                self._touched(peer, now)
        elif code in _SOCKET_BROKEN and key is not None and now - self._last_rebind >= REBIND_INTERVAL:
            self._last_rebind = now
            self._outbox.emit(Rebind(derp=False))
            self.locator.restun(now)
        self._settle(now)

    def receive_datagram(self, source: AddrPort, packet: bytes, now: float) -> None:
        """Anything that came to the WireGuard port and is not WireGuard."""
        kind = classify(packet)
        if kind == PacketKind.DISCO:
            for peer in self._receiver.receive(packet, source, now):
                self._touched(peer, now)
        elif kind == PacketKind.GENEVE_DISCO:
            for peer in self._relays.receive(packet, source, now):
                self._touched(peer, now)
        elif kind == PacketKind.STUN:
            self._receive_stun(packet, now)
        else:
            self._outbox.count("datagram_ignored")
        self._settle(now)

    # Side sockets

    def receive_sockets(self, sockets: Sequence[SideSocket], now: float) -> None:
        """Answer to `OpenSockets`."""
        self.hard_nat.receive_sockets(sockets, now)
        self._settle(now)

    def receive_aside(self, socket: int, source: AddrPort, packet: bytes, now: float) -> NodePublicKey | None:
        """A datagram on a side socket; the peer whose WireGuard it must be, None: it was something else."""
        kind = classify(packet)
        owner = self.hard_nat.heard(socket, now) if kind == PacketKind.WIREGUARD else None
        if kind == PacketKind.DISCO:
            for peer in self._receiver.receive(packet, source, now, socket):
                self._touched(peer, now)
        elif kind == PacketKind.STUN:
            self._receive_stun(packet, now, socket)
        self._settle(now)
        return owner

    def side_route(self, key: NodePublicKey, now: float) -> SideRoute | None:
        peer = self._peers.get(key)
        return self.hard_nat.route(peer, now) if peer is not None else None

    def side_refused(self, now: float) -> None:
        """The kernel refused a packet of a side socket."""
        self._outbox.count("side_send_failed")
        self.hard_nat.refused(now)
        self._settle(now)

    def _receive_stun(self, packet: bytes, now: float, socket: int = 0) -> None:
        try:
            response = parse_response(packet)
        except DecodeError as error:
            if self._hairpin and packet[8:20] == self._hairpin:
                self._outbox.emit(Publish(HairpinSeen()))
            else:
                self._outbox.count(f"stun_{error.reason}")
            return
        desk, locator = self.hard_nat, self.locator
        if not (desk.receive_stun(socket, response, now) if socket else locator.receive_stun(response, now)):
            self._outbox.count("stun_unknown")

    # The relay's side

    def receive_disco_by_derp(self, region: RegionId, source: NodePublicKey, packet: bytes, now: float) -> None:
        for peer in self._receiver.receive_by_derp(packet, region, source, now):
            self._touched(peer, now)
        self._settle(now)

    def relay_traffic(self, region: RegionId, source: NodePublicKey, now: float) -> bool:
        """WireGuard packets of `source` came by DERP. False: it is no peer of ours, drop them."""
        peer = self._peers.get(source)
        if peer is None:
            self._outbox.count("derp_unknown_source")
            return False
        peer.relay_traffic(region, now)
        self._touched(peer, now)
        self._settle(now)
        return True

    def derp_peer_gone(self, region: RegionId, key: NodePublicKey, now: float) -> None:
        peer = self._peers.get(key)
        if peer is not None:
            peer.gone_from_derp(region, now)
            self._touched(peer, now)

    def derp_connected(self, region: RegionId, now: float) -> None:
        """A relay accepted us. Only counted: packets that waited for it go by themselves."""
        self._outbox.count("derp_connected")

    def derp_disconnected(self, region: RegionId, error: str, now: float) -> None:
        """A broken connection may mean another network: measure again."""
        if error:
            self._outbox.count("derp_disconnected")
            self.locator.restun(now)
            self._settle(now)

    # People, and answers to actions

    def ping(self, key: NodePublicKey, token: int, now: float) -> bool:
        """Ping for a person; each answer comes as `PingAnswered`. False: no such peer, or none to be spoken with."""
        peer = self._peers.get(key)
        if peer is None or not peer.usable:
            return False
        peer.ping_for_person(token, now)
        self.locator.active(now)
        self._touched(peer, now)
        self._settle(now)
        return True

    def netcheck_wanted(self, now: float) -> int:
        """Run a full netcheck; the number of the run whose `NetcheckDone` answers."""
        run = self.locator.restun(now, full=True)
        self._settle(now)
        return run

    def await_hairpin(self, tx_id: bytes) -> None:
        """A STUN request with this id, sent to our own outside address, is told as `HairpinSeen`; b"" = none."""
        self._hairpin = tx_id

    def receive_icmp(self, region: RegionId, latency_s: float) -> None:
        self.locator.receive_icmp(region, latency_s)

    def receive_names(self, addresses: Mapping[str, Sequence[Address]], now: float) -> None:
        self.locator.receive_names(addresses, now)
        self._settle(now)

    def receive_https(self, region: RegionId, latency_s: float | None, now: float) -> None:
        self.locator.receive_https(region, latency_s, now)
        self._settle(now)

    def receive_captive(self, captive: bool | None, now: float) -> None:
        self.locator.receive_captive(captive, now)
        self._settle(now)

    # Timers

    def next_timer(self) -> float | None:
        return self._schedule.next_deadline()

    def handle_timer(self, now: float) -> None:
        """Everything that is due."""
        while (owner := self._schedule.pop_due(now)) is not None:
            if owner == "locator":
                self.locator.handle_timer(now)
            elif owner == "call-me-maybe":
                self._send_waiting()
            elif owner == "relays":
                self._relays.handle_timer(now)
            elif owner == "hard-nat":
                self.hard_nat.handle_timer(now)
            elif (peer := self._peers.get(owner)) is not None:
                peer.handle_timer(now)
                self._touched(peer, now)
        self._settle(now)

    def _touched(self, peer: PeerPaths, now: float) -> None:
        self._relays.consider(peer, now)
        self.hard_nat.touched(peer, now)
        self._schedule.set(peer.node.key, peer.next_timer())

    def _reschedule(self, key: NodePublicKey) -> None:
        peer = self._peers.get(key)
        self._schedule.set(key, peer.next_timer() if peer is not None else None)

    def _settle(self, now: float) -> None:
        """After every event: call-me-maybe that became possible, and the locator's next deadline."""
        if self._context.path_left:
            self._context.path_left = False
            self.locator.doubt(now)
        wanted, self._context.call_me_maybe_wanted = self._context.call_me_maybe_wanted, []
        for key in wanted:
            self._call_me_maybe(key, now)
        if self.locator.endpoints_news:
            self.locator.endpoints_news = False
            self._send_waiting()
        self._schedule.set("locator", self.locator.next_timer())
        self._schedule.set("relays", self._relays.next_timer())
        self._tell_hard_nat(now)
        self._schedule.set("hard-nat", self.hard_nat.next_timer())

    def _tell_hard_nat(self, now: float) -> None:
        pings, self._context.side_pings = self._context.side_pings, []
        words, self._context.hard_nat_words = self._context.hard_nat_words, []
        for key, source, socket in pings:
            if (peer := self._peers.get(key)) is not None:
                self.hard_nat.pinged(peer, source, socket, now)
                self._touched(peer, now)
        for key, message in words:
            if (peer := self._peers.get(key)) is not None:
                self.hard_nat.receive(peer, message, now)

    def _call_me_maybe(self, key: NodePublicKey, now: float) -> None:
        """At once when our endpoints are fresh; else after a new STUN answer, but not later than a second."""
        if self.locator.fresh(now):
            self._send_call_me_maybe(key)
            return
        if not self._waiting_for_endpoints:
            self._schedule.set("call-me-maybe", now + CALL_ME_MAYBE_WAIT)
        self._waiting_for_endpoints[key] = None
        self.locator.refresh(now)

    def _send_waiting(self) -> None:
        waiting, self._waiting_for_endpoints = self._waiting_for_endpoints, {}
        self._schedule.set("call-me-maybe", None)
        for key in waiting:
            self._send_call_me_maybe(key)

    def _send_call_me_maybe(self, key: NodePublicKey) -> None:
        peer = self._peers.get(key)
        if peer is not None:
            peer.send_call_me_maybe(tuple(endpoint.addr_port for endpoint in self.locator.endpoints))
