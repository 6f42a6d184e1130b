"""What the device did since it was last read: activity, roaming, new sessions (magicsock-disco spec 6.5, 6.6).

The device tells nothing by itself, so it is read: once a second while anything moves, else every three seconds, and
never so often that the reading costs more than a twentieth of the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.engine.kernel.peers import KernelPeer, PeerTable, proxied
from appliance.engine.kernel.traffic import user_bytes
from appliance.ports.underlay import PeerActivity
from appliance.ports.wireguard_device import DevicePeer
from appliance.types.keys import NodePublicKey

BUSY_S = 1.0
IDLE_S = 3.0
SHARE = 20
ROAM_TRUST_S = 6.5
"""As long as a path is trusted: within it path finding has proven the new address, or the device is set back."""


@dataclass(frozen=True, slots=True)
class Observation:
    """`stray`: peers whose endpoint in the device is not what their path says, for too long."""

    reports: list[PeerActivity] = field(default_factory=list)
    handshakes: list[NodePublicKey] = field(default_factory=list)
    stray: list[KernelPeer] = field(default_factory=list)


class DeviceWatch:
    def __init__(self, peers: PeerTable) -> None:
        self._peers = peers
        self._started = 0.0
        self._rest_until = 0.0
        self._busy = False

    def begin(self, now: float) -> None:
        """A reading was asked for."""
        self._started = now

    def pause(self, now: float) -> float:
        """Seconds until the next reading."""
        return max(BUSY_S if self._busy else IDLE_S, self._rest_until - now)

    def soon(self, now: float) -> float:
        """Seconds until a reading that something new asks for."""
        return max(BUSY_S, self._rest_until - now)

    def observe(self, seen: Iterable[DevicePeer], now: float) -> Observation:
        result = Observation()
        self._busy, self._rest_until = False, now + SHARE * (now - self._started)
        for peer in seen:
            record = self._peers.get(peer.key)
            if record is not None:
                self._observe(record, peer, now, result)
                self._busy = self._busy or not record.parked
        self._busy = self._busy or bool(result.reports)
        return result

    def _observe(self, record: KernelPeer, peer: DevicePeer, now: float, result: Observation) -> None:
        received = record.rx_before + peer.rx_bytes - record.rx_bytes
        sent = record.tx_before + peer.tx_bytes - record.tx_bytes
        if received < 0 or sent < 0:  # read before the peer was made anew
            return
        greeted = peer.last_handshake > record.last_handshake
        if greeted:
            result.handshakes.append(record.key)
            record.last_handshake = peer.last_handshake
        moving = bool(received or sent)
        if moving:
            record.rx_bytes += received
            record.tx_bytes += sent
        self._locate(record, peer, now, moving, result)
        by_udp = received > record.injected
        record.injected = 0
        if moving:
            source = None if proxied(record.endpoint) or not by_udp else record.endpoint
            rx, tx = user_bytes(received, handshake=greeted), user_bytes(sent, handshake=greeted)
            if rx or tx or by_udp:
                result.reports.append(PeerActivity(record.key, tx, rx, source, rx_direct=by_udp))

    def _locate(self, record: KernelPeer, peer: DevicePeer, now: float, moving: bool, result: Observation) -> None:
        """Compare the device's endpoint with the path, unless we set it while the reading went on."""
        if record.moved_at >= self._started:
            return
        record.endpoint = peer.endpoint
        far = not proxied(peer.endpoint)
        if record.direct_only:
            record.roamed_at = None
            if not far:
                result.stray.append(record)
        elif not far:
            record.roamed_at = None
        elif record.roamed_at is None:
            record.roamed_at = now
        elif now - record.roamed_at >= ROAM_TRUST_S and (
            record.path.relay or record.path.vni is not None or not moving
        ):
            result.stray.append(record)
