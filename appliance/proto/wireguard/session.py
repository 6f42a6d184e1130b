"""The session with one peer: handshake in flight, three key pairs, staged packets, timers (paper 6, spec 2.4).

A deadline is monotonic seconds, NEVER when not armed. Every method that can change one is followed by the tunnel's
rescheduling of this session.
"""

from __future__ import annotations

from collections import deque

from appliance.proto.wireguard.context import Context, PendingHandshake
from appliance.proto.wireguard.cookies import CookieJar
from appliance.proto.wireguard.events import (
    HandshakeCompleted,
    HandshakeFailed,
    KeypairInstalled,
    KeysZeroed,
    Outgoing,
)
from appliance.proto.wireguard.handshake import (
    RemoteIdentity,
    ResponderState,
    TransportKeys,
    consume_response,
    create_initiation,
    create_response,
)
from appliance.proto.wireguard.keypair import Keypair
from appliance.proto.wireguard.messages import (
    INITIATION_SIZE,
    RESPONSE_SIZE,
    CookieReply,
    Response,
    encode_initiation,
    encode_response,
)
from appliance.proto.wireguard.source import Source
from appliance.types.errors import DecodeError

NEVER = float("inf")


class Session:
    """State of one peer that is in use. `source` is where the last authenticated message came from."""

    __slots__ = (
        "_another_keepalive",
        "_attempts",
        "_context",
        "_jar",
        "_keepalive_at",
        "_last_answered",
        "_last_initiation",
        "_no_reply_at",
        "_pending",
        "_persistent_at",
        "_retry_at",
        "_staged",
        "_zero_at",
        "current",
        "keepalive_s",
        "last_handshake",
        "next",
        "previous",
        "remote",
        "scheduled_at",
        "source",
    )

    def __init__(self, context: Context, remote: RemoteIdentity, keepalive_s: float = 0.0) -> None:
        self._context = context
        self.remote = remote
        self.keepalive_s = keepalive_s
        self._jar = CookieJar(remote.public, context.settings)
        self._staged: deque[bytes] = deque()
        self.current: Keypair | None = None
        self.previous: Keypair | None = None
        self.next: Keypair | None = None
        self._pending: PendingHandshake | None = None
        self._attempts = 0
        self._last_initiation = -NEVER
        self._last_answered = -NEVER
        self.last_handshake: float | None = None
        self.source: Source | None = None
        self._another_keepalive = False
        self.scheduled_at = NEVER
        self._disarm()

    def _disarm(self) -> None:
        self._retry_at = self._keepalive_at = self._no_reply_at = self._zero_at = self._persistent_at = NEVER

    @property
    def staged(self) -> int:
        return len(self._staged)

    def next_timer(self) -> float:
        return min(self._retry_at, self._keepalive_at, self._no_reply_at, self._zero_at, self._persistent_at)

    # Handshake

    def initiate(self, now: float, *, retry: bool = False) -> None:
        """Send an initiation unless one went out within REKEY_TIMEOUT. New demand starts the attempts anew."""
        settings = self._context.settings
        if not retry:
            self._attempts = 0
        if now - self._last_initiation < settings.rekey_timeout_s:
            return
        self._last_initiation = now
        index = self._context.free_index()
        stamp = self._context.timestamps.next(self._context.wall_ns())
        try:
            message, state = create_initiation(self.remote, self._context.random.bytes(32), index, stamp)
        except DecodeError:
            self._context.counters["bad_peer_key"] += 1
            return
        self._drop_pending()
        self._pending = PendingHandshake(self, index, state)
        self._context.indices[index] = self._pending
        self._attempts += 1
        self._retry_at = now + settings.rekey_timeout_s + self._context.jitter()
        self._sent(now)
        data = self._jar.add_macs(encode_initiation(message), now)
        self._context.outbox.append(Outgoing(self.remote.public, data))

    def may_answer(self, now: float) -> bool:
        """Whether the limit of initiations per peer allows another answer."""
        return now - self._last_answered >= 1.0 / self._context.settings.peer_initiations_per_s

    def respond(self, state: ResponderState, source: Source, now: float) -> None:
        """Answer an initiation that was authenticated and is newer than any before."""
        self._last_answered = now
        index = self._context.free_index()
        message, keys = create_response(self.remote, state, self._context.random.bytes(32), index)
        self._install(keys, (index, state.sender_index), initiator=False, now=now)
        self._received(source, INITIATION_SIZE, now)
        self._sent(now)
        data = self._jar.add_macs(encode_response(message), now)
        self._context.outbox.append(Outgoing(self.remote.public, data, source))

    def receive_response(self, message: Response, pending: PendingHandshake, source: Source, now: float) -> None:
        """Complete our handshake. Raises `DecodeError` when the response is not authentic."""
        keys = consume_response(self.remote, pending.state, message)
        self._drop_pending()
        keypair = self._install(keys, (pending.local_index, message.sender_index), initiator=True, now=now)
        self._received(source, RESPONSE_SIZE, now)
        self._completed(now)
        if self._staged:
            self.flush(now)
        elif not keypair.sent:
            self.send_keepalive(now)

    def receive_cookie(self, reply: CookieReply, now: float) -> None:
        """Raises `DecodeError` when the cookie is not for our last message."""
        self._jar.receive_reply(reply, now)

    def _install(self, keys: TransportKeys, indices: tuple[int, int], *, initiator: bool, now: float) -> Keypair:
        keypair = Keypair(
            self,
            keys,
            indices,
            initiator=initiator,
            created=now,
            settings=self._context.settings,
            make_cipher=self._context.make_cipher,
        )
        self._context.indices[keypair.local_index] = keypair
        if initiator:
            self._discard(self.previous)
            if self.next is not None:
                self._discard(self.current)
            self.previous = self.next or self.current
            self.next = None
            self.current = keypair
            self._context.events.append(KeypairInstalled(self.remote.public, initiator=True))
            self._greet(keypair, now)
        else:
            self._discard(self.previous)
            self._discard(self.next)
            self.previous = None
            self.next = keypair
        self._zero_at = now + self._context.settings.zero_keys_s
        return keypair

    def _greet(self, keypair: Keypair, now: float) -> None:
        """The first packet on a key pair that may be used from now on; it counts as no traffic of users."""
        make = self._context.first_packet
        packet = make(self.remote.public) if make is not None else None
        if packet:
            self._context.outbox.append(Outgoing(self.remote.public, keypair.seal_one(packet, self._context.mtu)))
            self.data_sent(keypair, now)

    def _promote(self, now: float) -> None:
        """The first message on `next` proves that the initiator has the keys: send on it from now on."""
        self._discard(self.previous)
        self.previous, self.current, self.next = self.current, self.next, None
        self._context.events.append(KeypairInstalled(self.remote.public, initiator=False))
        if self.current is not None:
            self._greet(self.current, now)
        self._completed(now)
        if self._staged:
            self.flush(now)

    def _completed(self, now: float) -> None:
        self._retry_at = NEVER
        self._attempts = 0
        self.last_handshake = now
        self._context.events.append(HandshakeCompleted(self.remote.public, now))

    def _drop_pending(self) -> None:
        if self._pending is not None:
            self._context.indices.pop(self._pending.local_index, None)
            self._pending = None

    def _discard(self, keypair: Keypair | None) -> None:
        if keypair is not None:
            self._context.indices.pop(keypair.local_index, None)

    def forget(self) -> None:
        """Drop keys, handshake and timers; staged packets stay."""
        self._drop_pending()
        for keypair in (self.previous, self.current, self.next):
            self._discard(keypair)
        self.previous = self.current = self.next = None
        self._last_initiation = -NEVER
        self._attempts = 0
        self._disarm()

    # Data

    def sending_keypair(self, now: float) -> Keypair | None:
        """The key pair to seal with, None when a handshake must come first."""
        keypair = self.current
        if keypair is None or now - keypair.created >= self._context.settings.reject_after_time_s:
            return None
        return keypair if keypair.room(1) else None

    def stage(self, packet: bytes) -> None:
        """Keep a packet until there is a key pair; the oldest gives way."""
        if len(self._staged) >= self._context.settings.staged_packets:
            self._staged.popleft()
            self._context.counters["staged_overflow"] += 1
        self._staged.append(packet)

    def flush(self, now: float) -> None:
        """Send what is staged, or ask for the keys to do so."""
        while self._staged:
            keypair = self.sending_keypair(now)
            if keypair is None:
                self.initiate(now)
                return
            packet = self._staged.popleft()
            sealed = keypair.seal_one(packet, self._context.mtu)
            self._context.outbox.append(Outgoing(self.remote.public, sealed, payload_bytes=len(packet)))
            self.data_sent(keypair, now)

    def send_keepalive(self, now: float) -> None:
        """An empty message; without keys a handshake says the same."""
        keypair = self.sending_keypair(now)
        if keypair is None:
            self.initiate(now)
            return
        self._context.outbox.append(Outgoing(self.remote.public, keypair.seal_one(b"", 0)))
        self._sent(now)
        self._refresh_on_send(keypair, now)

    def data_sent(self, keypair: Keypair, now: float) -> None:
        """Timers after user data was sealed."""
        if self._no_reply_at == NEVER:
            self._no_reply_at = now + self._context.settings.no_reply_s + self._context.jitter()
        self._sent(now)
        self._refresh_on_send(keypair, now)

    def _refresh_on_send(self, keypair: Keypair, now: float) -> None:
        settings = self._context.settings
        old = keypair.initiator and now - keypair.created >= settings.rekey_after_time_s
        if old or keypair.sent > settings.rekey_after_messages:
            self.initiate(now)

    def transport_received(self, keypair: Keypair, source: Source, size: int, now: float, *, data: bool) -> None:
        """Timers and slots after authentic messages of `size` bytes on `keypair`; `data`: not only keepalives."""
        if keypair is self.next:
            self._promote(now)
        self._received(source, size, now)
        settings = self._context.settings
        if data:
            if self._keepalive_at == NEVER:
                self._keepalive_at = now + settings.keepalive_timeout_s
            else:
                self._another_keepalive = True
        if keypair is self.current and keypair.initiator and now - keypair.created >= settings.rekey_on_receive_s:
            self.initiate(now)

    def _sent(self, now: float) -> None:
        self._keepalive_at = NEVER
        self._another_keepalive = False
        if self.keepalive_s:
            self._persistent_at = now + self.keepalive_s

    def _received(self, source: Source, size: int, now: float) -> None:
        self.source = source
        self._context.note_heard(self.remote.public, source, size)
        self._no_reply_at = NEVER
        if self.keepalive_s:
            self._persistent_at = now + self.keepalive_s

    # Timers

    def handle_timer(self, now: float) -> None:
        """Run every deadline that has come."""
        if now >= self._zero_at:
            self.forget()
            self._context.events.append(KeysZeroed(self.remote.public))
        if now >= self._retry_at:
            self._retry_at = NEVER
            self._retry(now)
        if now >= self._keepalive_at:
            again = self._another_keepalive
            self._keepalive_at = NEVER
            self.send_keepalive(now)
            if again:
                self._keepalive_at = now + self._context.settings.keepalive_timeout_s
        if now >= self._no_reply_at:
            self._no_reply_at = NEVER
            self.initiate(now)
        if now >= self._persistent_at:
            self._persistent_at = now + self.keepalive_s
            self.send_keepalive(now)

    def _retry(self, now: float) -> None:
        if self._attempts < self._context.settings.handshake_attempts:
            self.initiate(now, retry=True)
            return
        self._drop_pending()
        self._keepalive_at = NEVER
        self._context.events.append(HandshakeFailed(self.remote.public, len(self._staged)))
        self._context.counters["staged_given_up"] += len(self._staged)
        self._staged.clear()
        if self._zero_at == NEVER:
            self._zero_at = now + self._context.settings.zero_keys_s
