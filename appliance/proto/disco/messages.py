"""Inner messages of disco, types 1 to 9 (magicsock-disco spec 1.3) and our own type 0xE0. Big-endian.

Each payload is `type (1) version (1) body`; version is 0. Trailing bytes are tolerated in types 1, 2, 4, 5, 6 and 8.
EP18 = 16-byte IP (IPv4 as ::ffff:a.b.c.d) followed by a 2-byte port.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from appliance.proto.disco.hard_nat import HARD_NAT_TYPE, HEAD_SIZE, HardNat, encode_body, parse_body
from appliance.types.addresses import MAPPED_SIZE, AddrPort, encode_mapped, parse_mapped
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import DiscoPublicKey, NodePublicKey

TX_ID_SIZE = 12
CHALLENGE_SIZE = 32
KEY_SIZE = 32

_RELAY_BIND_SIZE = 72
_RELAY_ENDPOINT_SIZE = 124
_PING_WITH_KEY = TX_ID_SIZE + KEY_SIZE
_BIND_HEAD = struct.Struct(">II")
_RELAY_NUMBERS = struct.Struct(">QIqq")


class MessageType(IntEnum):
    PING = 1
    PONG = 2
    CALL_ME_MAYBE = 3
    BIND_RELAY_ENDPOINT = 4
    BIND_RELAY_ENDPOINT_CHALLENGE = 5
    BIND_RELAY_ENDPOINT_ANSWER = 6
    CALL_ME_MAYBE_VIA = 7
    ALLOCATE_RELAY_ENDPOINT_REQUEST = 8
    ALLOCATE_RELAY_ENDPOINT_RESPONSE = 9
    HARD_NAT = HARD_NAT_TYPE


@dataclass(frozen=True, slots=True)
class Ping:
    """0:12 transaction id; 12:32 sender's node key (a hint only; None from old senders); then `padding` zero bytes.

    Padding without a key is misread by receivers as an all-zero key: always give the key.
    """

    tx_id: bytes
    node_key: NodePublicKey | None = None
    padding: int = 0


@dataclass(frozen=True, slots=True)
class Pong:
    """0:12 transaction id; 12:18 EP18 that the ping was seen from (`127.3.3.40:<region>` over DERP)."""

    tx_id: bytes
    source: AddrPort


@dataclass(frozen=True, slots=True)
class CallMeMaybe:
    """All endpoints of the sender, k times EP18; DERP only."""

    endpoints: tuple[AddrPort, ...] = ()


@dataclass(frozen=True, slots=True)
class RelayBinding:
    """0:4 VNI; 4:4 generation; 8:32 remote peer's disco key; 40:32 challenge (zeros in the first message)."""

    vni: int
    generation: int
    remote: DiscoPublicKey
    challenge: bytes = bytes(CHALLENGE_SIZE)


class BindRelayEndpoint(RelayBinding):
    """Client to relay, Geneve control."""

    __slots__ = ()


class BindRelayEndpointChallenge(RelayBinding):
    """Relay to client, Geneve control."""

    __slots__ = ()


class BindRelayEndpointAnswer(RelayBinding):
    """Client to relay, Geneve control."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RelayEndpoint:
    """A relay's allocation for two clients, 124 + 18k bytes, k >= 1.

    | Offset | Length | Field |
    |---|---|---|
    | 0 | 32 | relay server's disco key |
    | 32 | 64 | disco keys of the two clients, ascending; a set to receivers, so kept sorted here |
    | 96 | 8 | Lamport id |
    | 104 | 4 | VNI |
    | 108 | 8 | bind lifetime, nanoseconds, signed |
    | 116 | 8 | steady-state lifetime, nanoseconds, signed |
    | 124 | 18k | EP18 list of the server's addresses |
    """

    server: DiscoPublicKey
    clients: tuple[DiscoPublicKey, DiscoPublicKey]
    lamport_id: int
    vni: int
    bind_lifetime_ns: int
    steady_lifetime_ns: int
    addresses: tuple[AddrPort, ...]


@dataclass(frozen=True, slots=True)
class CallMeMaybeVia:
    """A relay endpoint at which the sender can be met; DERP only."""

    endpoint: RelayEndpoint


@dataclass(frozen=True, slots=True)
class AllocateRelayEndpointRequest:
    """0:64 the two client disco keys in any order; 64:4 generation; DERP only."""

    clients: tuple[DiscoPublicKey, DiscoPublicKey]
    generation: int


@dataclass(frozen=True, slots=True)
class AllocateRelayEndpointResponse:
    """0:4 generation echoed; 4: relay endpoint; DERP only."""

    generation: int
    endpoint: RelayEndpoint


Message = (
    Ping
    | Pong
    | CallMeMaybe
    | BindRelayEndpoint
    | BindRelayEndpointChallenge
    | BindRelayEndpointAnswer
    | CallMeMaybeVia
    | AllocateRelayEndpointRequest
    | AllocateRelayEndpointResponse
    | HardNat
)


def _parse_endpoints(data: bytes, at: int) -> tuple[AddrPort, ...]:
    return tuple(parse_mapped(data, offset) for offset in range(at, len(data), MAPPED_SIZE))


def _encode_binding(message: RelayBinding) -> bytes:
    return _BIND_HEAD.pack(message.vni, message.generation) + message.remote.raw + message.challenge


def _encode_pair(pair: tuple[DiscoPublicKey, DiscoPublicKey]) -> bytes:
    return b"".join(key.raw for key in sorted(pair))


def _encode_relay_endpoint(endpoint: RelayEndpoint) -> bytes:
    if not endpoint.addresses:
        raise ValueError("a relay endpoint has at least one address")
    numbers = _RELAY_NUMBERS.pack(
        endpoint.lamport_id, endpoint.vni, endpoint.bind_lifetime_ns, endpoint.steady_lifetime_ns
    )
    addresses = b"".join(map(encode_mapped, endpoint.addresses))
    return endpoint.server.raw + _encode_pair(endpoint.clients) + numbers + addresses


def encode_message(message: Message) -> bytes:
    """Type, version 0 and body. `ValueError` for values that have no wire form."""
    match message:
        case Ping(tx_id, node_key, padding):
            key = b"" if node_key is None else node_key.raw
            return _typed(MessageType.PING, tx_id + key + bytes(padding))
        case Pong(tx_id, source):
            return _typed(MessageType.PONG, tx_id + encode_mapped(source))
        case CallMeMaybe(endpoints):
            return _typed(MessageType.CALL_ME_MAYBE, b"".join(map(encode_mapped, endpoints)))
        case BindRelayEndpoint():
            return _typed(MessageType.BIND_RELAY_ENDPOINT, _encode_binding(message))
        case BindRelayEndpointChallenge():
            return _typed(MessageType.BIND_RELAY_ENDPOINT_CHALLENGE, _encode_binding(message))
        case BindRelayEndpointAnswer():
            return _typed(MessageType.BIND_RELAY_ENDPOINT_ANSWER, _encode_binding(message))
        case CallMeMaybeVia(endpoint):
            return _typed(MessageType.CALL_ME_MAYBE_VIA, _encode_relay_endpoint(endpoint))
        case AllocateRelayEndpointRequest(clients, generation):
            body = b"".join(key.raw for key in clients) + generation.to_bytes(4, "big")
            return _typed(MessageType.ALLOCATE_RELAY_ENDPOINT_REQUEST, body)
        case AllocateRelayEndpointResponse(generation, endpoint):
            body = generation.to_bytes(4, "big") + _encode_relay_endpoint(endpoint)
            return _typed(MessageType.ALLOCATE_RELAY_ENDPOINT_RESPONSE, body)
        case HardNat():
            return _typed(MessageType.HARD_NAT, encode_body(message, encode_mapped(message.public)))


def _typed(kind: MessageType, body: bytes) -> bytes:
    return bytes((kind, 0)) + body


def _need(body: bytes, size: int) -> None:
    if len(body) < size:
        raise DecodeError(DecodeReason.TOO_SHORT, "disco message")


def _parse_ping(body: bytes) -> Ping:
    _need(body, TX_ID_SIZE)
    if len(body) < _PING_WITH_KEY:
        return Ping(body[:TX_ID_SIZE], None, len(body) - TX_ID_SIZE)
    return Ping(body[:TX_ID_SIZE], NodePublicKey(body[TX_ID_SIZE:_PING_WITH_KEY]), len(body) - _PING_WITH_KEY)


def _parse_pong(body: bytes) -> Pong:
    _need(body, TX_ID_SIZE + MAPPED_SIZE)
    return Pong(body[:TX_ID_SIZE], parse_mapped(body, TX_ID_SIZE))


def _parse_call_me_maybe(body: bytes) -> CallMeMaybe:
    return CallMeMaybe(() if len(body) % MAPPED_SIZE else _parse_endpoints(body, 0))


def _binding(body: bytes) -> tuple[int, int, DiscoPublicKey, bytes]:
    _need(body, _RELAY_BIND_SIZE)
    vni, generation = _BIND_HEAD.unpack_from(body)
    return vni, generation, DiscoPublicKey(body[8:40]), body[40:_RELAY_BIND_SIZE]


def _parse_bind(body: bytes) -> BindRelayEndpoint:
    return BindRelayEndpoint(*_binding(body))


def _parse_bind_challenge(body: bytes) -> BindRelayEndpointChallenge:
    return BindRelayEndpointChallenge(*_binding(body))


def _parse_bind_answer(body: bytes) -> BindRelayEndpointAnswer:
    return BindRelayEndpointAnswer(*_binding(body))


def _parse_relay_endpoint(body: bytes, at: int) -> RelayEndpoint:
    size = len(body) - at
    if size < _RELAY_ENDPOINT_SIZE + MAPPED_SIZE or (size - _RELAY_ENDPOINT_SIZE) % MAPPED_SIZE:
        raise DecodeError(DecodeReason.BAD_LENGTH, "relay endpoint")
    server, first, second = (DiscoPublicKey(body[at + 32 * i : at + 32 * i + 32]) for i in range(3))
    lamport_id, vni, bind_ns, steady_ns = _RELAY_NUMBERS.unpack_from(body, at + 96)
    clients = (first, second) if first < second else (second, first)
    addresses = _parse_endpoints(body, at + _RELAY_ENDPOINT_SIZE)
    return RelayEndpoint(server, clients, lamport_id, vni, bind_ns, steady_ns, addresses)


def _parse_call_me_maybe_via(body: bytes) -> CallMeMaybeVia:
    return CallMeMaybeVia(_parse_relay_endpoint(body, 0))


def _parse_allocate_request(body: bytes) -> AllocateRelayEndpointRequest:
    _need(body, 68)
    clients = (DiscoPublicKey(body[:32]), DiscoPublicKey(body[32:64]))
    return AllocateRelayEndpointRequest(clients, int.from_bytes(body[64:68], "big"))


def _parse_allocate_response(body: bytes) -> AllocateRelayEndpointResponse:
    _need(body, 4)
    return AllocateRelayEndpointResponse(int.from_bytes(body[:4], "big"), _parse_relay_endpoint(body, 4))


def _parse_hard_nat(body: bytes) -> HardNat:
    _need(body, HEAD_SIZE + MAPPED_SIZE)
    return parse_body(body, parse_mapped(body, HEAD_SIZE))


_PARSERS: dict[int, Callable[[bytes], Message]] = {
    MessageType.PING: _parse_ping,
    MessageType.PONG: _parse_pong,
    MessageType.CALL_ME_MAYBE: _parse_call_me_maybe,
    MessageType.BIND_RELAY_ENDPOINT: _parse_bind,
    MessageType.BIND_RELAY_ENDPOINT_CHALLENGE: _parse_bind_challenge,
    MessageType.BIND_RELAY_ENDPOINT_ANSWER: _parse_bind_answer,
    MessageType.CALL_ME_MAYBE_VIA: _parse_call_me_maybe_via,
    MessageType.ALLOCATE_RELAY_ENDPOINT_REQUEST: _parse_allocate_request,
    MessageType.ALLOCATE_RELAY_ENDPOINT_RESPONSE: _parse_allocate_response,
    MessageType.HARD_NAT: _parse_hard_nat,
}
_VERSION_BOUND = frozenset((3, 7, 8, 9, HARD_NAT_TYPE))
"""Types that have no effect when their version is not 0; the others are parsed whatever it says."""


def parse_message(payload: bytes) -> Message:
    """Parse an opened payload. Unknown types raise `DecodeError` (BAD_TYPE) and are to be ignored silently."""
    if len(payload) < 2:
        raise DecodeError(DecodeReason.TOO_SHORT, "disco header")
    kind, version = payload[0], payload[1]
    parser = _PARSERS.get(kind)
    if parser is None:
        raise DecodeError(DecodeReason.BAD_TYPE, "disco message")
    if version and kind in _VERSION_BOUND:
        raise DecodeError(DecodeReason.BAD_VERSION, "disco message")
    return parser(payload[2:])
