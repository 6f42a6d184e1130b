"""The machine of one WireGuard interface: peers, messages in and out, timers. No exception leaves on network input.

Peers cost nothing until used: a session is made at the first packet either way. Where datagrams go is the caller's
matter: `Outgoing.peer` says whose path, `Outgoing.to` the source that is being answered.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from appliance.proto.wireguard.cipher import CipherFactory, PythonCipher
from appliance.proto.wireguard.context import Context, PendingHandshake
from appliance.proto.wireguard.cookies import CookieChecker
from appliance.proto.wireguard.events import Event, Outgoing
from appliance.proto.wireguard.handshake import LocalIdentity, RemoteIdentity, open_static, open_timestamp
from appliance.proto.wireguard.keypair import Keypair
from appliance.proto.wireguard.load import Load, LoadMeter, SourceLimiter
from appliance.proto.wireguard.messages import (
    INITIATION,
    RESPONSE,
    TRANSPORT,
    TRANSPORT_HEADER,
    TRANSPORT_OVERHEAD,
    Initiation,
    Message,
    Response,
    Transport,
    encode_cookie_reply,
    message_type,
    parse_message,
)
from appliance.proto.wireguard.session import NEVER, Session
from appliance.proto.wireguard.settings import Randomness, Settings
from appliance.proto.wireguard.source import Source, limiter_key
from appliance.proto.wireguard.timestamp import ZERO, TimestampSource
from appliance.types.errors import DecodeError
from appliance.types.keys import NodePrivateKey, NodePublicKey, PresharedKey


@dataclass(frozen=True, slots=True)
class TunnelPeer:
    """What is configured of a peer. `keepalive_s` 0: no persistent keepalive."""

    key: NodePublicKey
    psk: PresharedKey | None = None
    keepalive_s: float = 0.0


class Opened(NamedTuple):
    """An authentic plaintext with its padding; `packet` lies in the buffer that was given in."""

    peer: NodePublicKey
    packet: memoryview


class Tunnel:
    """Verbs: `receive_*`, `datagrams_to_send`, `next_timer`, `handle_timer`, `next_event`.

    `last_timestamp` is `timestamps.last` of the run before; `greatest` the greatest timestamps received by peer.
    """

    def __init__(
        self,
        private: NodePrivateKey,
        random: Randomness,
        wall_ns: Callable[[], int],
        *,
        settings: Settings | None = None,
        mtu: int = 0,
        last_timestamp: bytes = ZERO,
        greatest: Mapping[NodePublicKey, bytes] | None = None,
        make_cipher: CipherFactory = PythonCipher,
    ) -> None:
        self._settings = settings or Settings()
        timestamps = TimestampSource(last_timestamp)
        self._context = Context(
            LocalIdentity(private), self._settings, random, wall_ns, timestamps, mtu, make_cipher=make_cipher
        )
        self._checker = CookieChecker(self._context.local.public, self._settings, random)
        self._load = LoadMeter(self._settings)
        self._limiter = SourceLimiter(self._settings)
        self._peers: dict[NodePublicKey, TunnelPeer] = {}
        self._sessions: dict[NodePublicKey, Session] = {}
        self._greatest: dict[NodePublicKey, bytes] = dict(greatest or {})
        self._timers: list[tuple[float, int, Session]] = []
        self._timer_count = 0

    @property
    def public(self) -> NodePublicKey:
        return self._context.local.public

    @property
    def counters(self) -> Counter[str]:
        """Drops by reason."""
        return self._context.counters

    @property
    def last_timestamp(self) -> bytes:
        """Greatest TAI64N that was sent; to be stored."""
        return self._context.timestamps.last

    @property
    def greatest_timestamps(self) -> Mapping[NodePublicKey, bytes]:
        """Greatest TAI64N received, by peer."""
        return self._greatest

    def session(self, key: NodePublicKey) -> Session | None:
        """The session of a peer that is in use."""
        return self._sessions.get(key)

    # Configuration

    def set_private_key(self, private: NodePrivateKey, now: float) -> None:
        """Become another identity: every session is forgotten, the configured peers stay."""
        local = LocalIdentity(private)
        if local.public == self._context.local.public:
            return
        for session in self._sessions.values():
            session.forget()
        self._sessions.clear()
        self._context.local = local
        self._checker = CookieChecker(local.public, self._settings, self._context.random)
        for peer in self._peers.values():
            self._keep_alive(peer, now)

    def configure(self, peer: TunnelPeer, now: float) -> None:
        """Add or change a peer; an unchanged one keeps its session."""
        known = self._peers.get(peer.key)
        self._peers[peer.key] = peer
        session = self._sessions.get(peer.key)
        if session is not None and known is not None and known.psk != peer.psk:
            session.forget()
            del self._sessions[peer.key]
        elif session is not None:
            session.keepalive_s = peer.keepalive_s
        if peer.keepalive_s and (known is None or known.keepalive_s != peer.keepalive_s):
            self._keep_alive(peer, now)

    def _keep_alive(self, peer: TunnelPeer, now: float) -> None:
        """Start the persistent keepalives of a peer that has them."""
        if peer.keepalive_s:
            session = self._use(peer)
            session.send_keepalive(now)
            self._schedule(session)

    def remove(self, key: NodePublicKey) -> None:
        self._peers.pop(key, None)
        self._greatest.pop(key, None)
        session = self._sessions.pop(key, None)
        if session is not None:
            session.forget()

    def reset(self, key: NodePublicKey, now: float) -> None:
        """Forget the session, keep the peer; staged packets ask for a new handshake at once."""
        session = self._sessions.get(key)
        if session is not None:
            session.forget()
            session.flush(now)
            self._schedule(session)
            self._keep_alive(self._peers[key], now)

    def greet(self, key: NodePublicKey, now: float) -> None:
        """Begin a handshake with a peer that may still use keys of a run before, unless a session is there."""
        peer = self._peers.get(key)
        if peer is not None and key not in self._sessions:
            session = self._use(peer)
            session.send_keepalive(now)
            self._schedule(session)

    def _use(self, peer: TunnelPeer) -> Session:
        session = self._sessions.get(peer.key)
        if session is None:
            remote = RemoteIdentity(self._context.local, peer.key, peer.psk)
            session = self._sessions[peer.key] = Session(self._context, remote, peer.keepalive_s)
        return session

    def set_first_packet(self, make: Callable[[NodePublicKey], bytes | None] | None) -> None:
        """`make(peer)` gives what is to be the first user data on every new key pair with a peer, None: nothing."""
        self._context.first_packet = make

    # Sending

    def stage(self, key: NodePublicKey, packet: bytes) -> None:
        """Keep a packet for a peer; nothing is sent before `flush`."""
        peer = self._peers.get(key)
        if peer is not None:
            self._use(peer).stage(packet)

    def flush(self, key: NodePublicKey, now: float) -> None:
        """Send what is staged for a peer, beginning a handshake when needed."""
        session = self._sessions.get(key)
        if session is not None:
            session.flush(now)
            self._schedule(session)

    def sending_keypair(self, key: NodePublicKey, now: float) -> Keypair | None:
        """The key pair for `seal`; None means: stage the packets and flush."""
        session = self._sessions.get(key)
        return None if session is None else session.sending_keypair(now)

    def seal(self, keypair: Keypair, slots: memoryview, stride: int, now: float) -> bool:
        """Seal user data in place (slots: see `keypair`); False when the message limit forbids it."""
        if not keypair.room(-(-len(slots) // stride)):
            self._context.counters["message_limit"] += 1
            return False
        keypair.seal_slots(slots, stride)
        self.data_sealed(keypair, now)
        return True

    def data_sealed(self, keypair: Keypair, now: float) -> None:
        """Timers after user data was sealed with a key pair."""
        session = keypair.session
        session.data_sent(keypair, now)
        self._schedule(session)

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        """Messages made since the last call, in order. `now` is unused: timers run in `handle_timer` alone."""
        del now
        outbox = self._context.outbox
        if outbox:
            self._context.outbox = []
        return outbox

    # Receiving

    def receive_batch(self, packets: Iterable[memoryview], source: Source, now: float) -> list[Opened]:
        """WireGuard messages of one source, in order. Transport messages are decrypted in place: give writable views.

        Keepalives give nothing. Anything not authentic is counted and dropped.
        """
        opened: list[Opened] = []
        counters = self._context.counters
        touched: dict[Keypair, tuple[int, bool]] = {}
        for packet in packets:
            if len(packet) < TRANSPORT_OVERHEAD or packet[0] != TRANSPORT:
                self.receive_handshake(bytes(packet), source, now)
                continue
            _, index, counter = TRANSPORT_HEADER.unpack_from(packet)
            keypair = self.opening_keypair(index, now)
            if keypair is None:
                continue
            if not keypair.may_open(counter):
                counters["replay"] += 1
                continue
            plain = keypair.open(packet, counter)
            if plain is None:
                counters["bad_ciphertext"] += 1
                continue
            size, data = touched.get(keypair, (0, False))
            touched[keypair] = (size + len(packet), data or len(plain) > 0)
            if len(plain):
                opened.append(Opened(keypair.session.remote.public, plain))
        for keypair, (size, data) in touched.items():
            keypair.session.transport_received(keypair, source, size, now, data=data)
            self._schedule(keypair.session)
        return opened

    def opening_keypair(self, index: int, now: float) -> Keypair | None:
        """The key pair to open messages to `index` with, for `data_opened`; without one, one drop is counted."""
        keypair = self._context.indices.get(index)
        if not isinstance(keypair, Keypair):
            self._context.counters["unknown_index"] += 1
            return None
        if now - keypair.created >= self._settings.reject_after_time_s:
            self._context.counters["expired_key"] += 1
            return None
        return keypair

    def data_opened(
        self, keypair: Keypair, source: Source, size: int, now: float, *, data: bool, replays: int, forged: int
    ) -> None:
        """Timers and counters after a run of messages was opened elsewhere; `size`: bytes of the authentic ones."""
        if replays:
            self._context.counters["replay"] += replays
        if forged:
            self._context.counters["bad_ciphertext"] += forged
        if size:
            keypair.session.transport_received(keypair, source, size, now, data=data)
            self._schedule(keypair.session)

    def receive_datagram(self, data: bytes, source: Source, now: float) -> list[Opened]:
        """One WireGuard message of any type."""
        return self.receive_batch([memoryview(bytearray(data))], source, now)

    def receive_handshake(self, data: bytes, source: Source, now: float) -> None:
        """Initiation, response or cookie reply; what is wrong is counted."""
        try:
            if message_type(data) in (INITIATION, RESPONSE):
                self._receive_guarded(data, source, now)
            else:
                self._receive_cookie(parse_message(data), now)
        except DecodeError as error:
            self._context.counters[str(error.reason)] += 1

    def _receive_guarded(self, data: bytes, source: Source, now: float) -> None:
        message = parse_message(data)
        if not self._checker.mac1_ok(data):
            self._context.counters["bad_mac1"] += 1
            return
        load = self._load.note(now)
        if load is Load.FULL:
            self._context.counters["handshake_queue_full"] += 1
            return
        if load is Load.UNDER_LOAD and not self._admit(data, message, source, now):
            return
        if isinstance(message, Initiation):
            self._receive_initiation(message, source, now)
        elif isinstance(message, Response):
            self._receive_response(message, source, now)

    def _admit(self, data: bytes, message: Message, source: Source, now: float) -> bool:
        """Under load: a proven address and a share of the handshakes of its host."""
        if not self._checker.mac2_ok(data, source, now):
            self._context.counters["cookie_sent"] += 1
            sender = message.sender_index if isinstance(message, Initiation | Response) else 0
            reply = self._checker.create_reply(data, sender, source, now)
            self._context.outbox.append(Outgoing(None, encode_cookie_reply(reply), source))
            return False
        if not self._limiter.allow(limiter_key(source), now):
            self._context.counters["rate_limited"] += 1
            return False
        return True

    def _receive_initiation(self, message: Initiation, source: Source, now: float) -> None:
        opened = open_static(self._context.local, message)
        peer = self._peers.get(opened.public)
        if peer is None:
            self._context.counters["unknown_peer"] += 1
            return
        known = self._sessions.get(peer.key)
        remote = known.remote if known else RemoteIdentity(self._context.local, peer.key, peer.psk)
        state = open_timestamp(remote, opened)
        if state.timestamp <= self._greatest.get(peer.key, ZERO):
            self._context.counters["old_timestamp"] += 1
            return
        session = self._use(peer)
        if not session.may_answer(now):
            self._context.counters["initiation_flood"] += 1
            return
        self._greatest[peer.key] = state.timestamp
        session.respond(state, source, now)
        self._schedule(session)

    def _receive_response(self, message: Response, source: Source, now: float) -> None:
        pending = self._context.indices.get(message.receiver_index)
        if not isinstance(pending, PendingHandshake):
            self._context.counters["unknown_index"] += 1
            return
        pending.session.receive_response(message, pending, source, now)
        self._schedule(pending.session)

    def _receive_cookie(self, message: Message, now: float) -> None:
        if isinstance(message, Transport | Initiation | Response):
            self._context.counters["unexpected"] += 1
            return
        holder = self._context.indices.get(message.receiver_index)
        if holder is None:
            self._context.counters["unknown_index"] += 1
            return
        holder.session.receive_cookie(message, now)

    def heard(self) -> dict[NodePublicKey, tuple[Source, int]]:
        """Peers from which something authentic came since the last call: last source, bytes of messages."""
        heard = self._context.heard
        if heard:
            self._context.heard = {}
        return heard

    # Timers and events

    def _schedule(self, session: Session) -> None:
        """Queue the session's next deadline unless an earlier or equal one is queued: that one looks again."""
        deadline = session.next_timer()
        if deadline < session.scheduled_at:
            session.scheduled_at = deadline
            self._timer_count += 1
            heapq.heappush(self._timers, (deadline, self._timer_count, session))

    def next_timer(self) -> float | None:
        """When `handle_timer` is wanted, None: not at all. It may turn out that nothing was due."""
        return self._timers[0][0] if self._timers else None

    def handle_timer(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            deadline, _, session = heapq.heappop(self._timers)
            if deadline != session.scheduled_at:
                continue
            session.scheduled_at = NEVER
            if self._sessions.get(session.remote.public) is not session:
                continue
            session.handle_timer(now)
            self._schedule(session)

    def next_event(self) -> Event | None:
        return self._context.events.popleft() if self._context.events else None
