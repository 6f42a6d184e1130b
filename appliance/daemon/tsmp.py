"""The node's own messages to its peers inside the tunnel: pings, and its disco key at every new session (TSMP).

Whatever is wrong with a packet becomes a counter. Nothing here is called per packet of users.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance.magicsock.errors import PingTimeoutError
from appliance.netmap.store import NetmapView
from appliance.ports.clock import Clock
from appliance.ports.randomness import Randomness
from appliance.ports.tsmp import TsmpPort
from appliance.proto.tsmp import (
    DiscoAdvertisement,
    Message,
    Packet,
    Ping,
    Pong,
    Rejected,
    RejectReason,
    encode_packet,
    parse_packet,
)
from appliance.types.addresses import Address, AddrPort
from appliance.types.errors import ApplianceError, DecodeError
from appliance.types.events import FlowRefused
from appliance.types.keys import DiscoPublicKey, NodePublicKey
from appliance.types.netmap import Node

MAX_PINGS = 64
_REPEAT_S = 1.0
_DATA_SIZE = 8
_REASONS: Mapping[int, str] = {
    RejectReason.ACL: "policy",
    RejectReason.SHIELDS_UP: "shields up",
    RejectReason.FORWARDING: "it does not forward there",
    RejectReason.HOST_FIREWALL: "its host's firewall",
    RejectReason.UNKNOWN_TRANSIT_IP: "unknown transit address",
}


class NoTunnelAddressError(ApplianceError):
    """The two nodes have no IP version in common."""

    code = "no-tunnel-address"


@dataclass(frozen=True, slots=True)
class TsmpAnswer:
    """`peerapi_port` 0: the peer has no peer API."""

    latency_s: float
    peerapi_port: int


class TsmpService:
    """`TsmpHandler`. `view` gives the netmap, None when there is none; `peerapi_port` our port of an IP version."""

    def __init__(
        self,
        port: TsmpPort,
        view: Callable[[], NetmapView | None],
        disco_key: Callable[[], DiscoPublicKey],
        learn: Callable[[NodePublicKey, DiscoPublicKey], bool],
        peerapi_port: Callable[[int], int],
        clock: Clock,
        randomness: Randomness,
        publish: Callable[[FlowRefused], None],
    ) -> None:
        self._port = port
        self._view = view
        self._disco_key = disco_key
        self._learn = learn
        self._peerapi_port = peerapi_port
        self._clock = clock
        self._randomness = randomness
        self._publish = publish
        self._published_at = float("-inf")
        self._pings: dict[bytes, tuple[NodePublicKey, asyncio.Future[Pong]]] = {}
        self.counters: Counter[str] = Counter()
        port.set_tsmp_handler(self)

    async def ping(self, peer: Node, timeout_s: float) -> TsmpAnswer:
        """Until the peer's daemon answers through the tunnel. Raises `NoTunnelAddressError`, `PingTimeoutError`."""
        addresses = self._addresses(peer)
        if addresses is None:
            raise NoTunnelAddressError(f"{peer.short_name} and this node have no IP version in common")
        if len(self._pings) >= MAX_PINGS:
            raise ApplianceError("too many pings at once", mend="try again in a moment", code="busy")
        data = self._randomness.bytes(_DATA_SIZE)
        future: asyncio.Future[Pong] = asyncio.get_running_loop().create_future()
        self._pings[data] = (peer.key, future)
        started = self._clock.now()
        try:
            async with asyncio.timeout(timeout_s):
                while not future.done():
                    started = self._clock.now()
                    self._send(peer.key, *addresses, Ping(data))
                    await asyncio.wait((future,), timeout=_REPEAT_S)
        except TimeoutError:
            text = f"no answer through the tunnel from {peer.short_name} within {timeout_s:g} s"
            raise PingTimeoutError(text, mend="see its path with `waypost status`") from None
        finally:
            del self._pings[data]
        return TsmpAnswer(self._clock.now() - started, future.result().peerapi_port)

    # TsmpHandler

    def first_packet(self, peer: NodePublicKey) -> bytes | None:
        """Our disco key: a peer that has not heard from control yet can find a path at once."""
        node = self._peer(peer)
        addresses = self._addresses(node) if node is not None and not node.wireguard_only else None
        if addresses is None:
            return None
        self.counters["tsmp_advertised"] += 1
        return encode_packet(Packet(*addresses, DiscoAdvertisement(self._disco_key())))

    def tsmp_received(self, peer: NodePublicKey, packet: bytes) -> None:
        try:
            parsed = parse_packet(packet)
        except DecodeError as error:
            self.counters[f"tsmp_{error.reason}"] += 1
            return
        node = self._peer(peer)
        if node is None or not self._is_between(parsed, node):
            self.counters["tsmp_wrong_address"] += 1
            return
        self._handle(parsed, parsed.message, node)

    def _handle(self, packet: Packet, message: Message, node: Node) -> None:
        match message:
            case Ping(data):
                self.counters["tsmp_pinged"] += 1
                answer = Pong(data, self._peerapi_port(packet.source.version))
                self._send(node.key, packet.destination, packet.source, answer)
            case Pong(data):
                self._pong(node.key, data, message)
            case DiscoAdvertisement(key):
                self.counters["tsmp_told"] += 1
                self._learn(node.key, key)
            case Rejected(_, reason, _, port):
                self.counters["tsmp_rejected"] += 1
                self._refused(node.key, AddrPort(str(packet.source), port), reason)

    def _refused(self, peer: NodePublicKey, destination: AddrPort, reason: int) -> None:
        """One a second at most: a peer could send any number of them."""
        now = self._clock.now()
        if now - self._published_at >= _REPEAT_S:
            self._published_at = now
            self._publish(FlowRefused(peer, destination, _REASONS.get(reason, "unknown reason")))

    def _pong(self, peer: NodePublicKey, data: bytes, pong: Pong) -> None:
        asked, future = self._pings.get(data, (None, None))
        if future is None or asked != peer or future.done():
            self.counters["tsmp_pong_unknown"] += 1
        else:
            future.set_result(pong)

    # inside

    def _peer(self, key: NodePublicKey) -> Node | None:
        view = self._view()
        return view.peer_by_key(key) if view is not None else None

    def _own(self) -> Node | None:
        view = self._view()
        return view.self_node if view is not None else None

    def _addresses(self, peer: Node) -> tuple[Address, Address] | None:
        """Ours and the peer's: its first address whose IP version we have too."""
        own = self._own()
        for prefix in peer.addresses:
            address = own.address(prefix.version) if own is not None else None
            if address is not None:
                return address, prefix.network_address
        return None

    def _is_between(self, packet: Packet, node: Node) -> bool:
        """From the peer itself and to us. A refusal may also name a host in a network behind the peer as its source."""
        own = self._own()
        if own is None or packet.destination not in [prefix.network_address for prefix in own.addresses]:
            return False
        itself = packet.source in [prefix.network_address for prefix in node.addresses]
        return itself or isinstance(packet.message, Rejected)

    def _send(self, peer: NodePublicKey, source: Address, destination: Address, message: Message) -> None:
        self._port.send_packet(peer, encode_packet(Packet(source, destination, message)))
