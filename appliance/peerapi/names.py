"""`/dns-query`: peers that use this node as exit or app connector have it look names up (apps spec 1.5).

The question goes to this host's own resolver, by TCP to its service address.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address

from aiohttp import web

from appliance.peerapi.caller import Caller
from appliance.peerapi.routes import PeerRequest, PeerRoutes
from appliance.peerapi.server import text
from appliance.ports.streams import StreamDialer
from appliance.proto.dns import build_reply, is_below, parse_query
from appliance.proto.dns.numbers import REFUSED
from appliance.proto.dns.query import MAX_QUERY_BYTES
from appliance.proto.peerapi import NAMES_PATH
from appliance.router.explain import Packet, by_rules
from appliance.router.model import RouterModel
from appliance.types.addresses import SERVICE_V4, AddrPort, parse_addr_port
from appliance.types.errors import ApplianceError, DecodeError

TYPE = "application/dns-message"
TIMEOUT_S = 5.0
DNS_PORT = 53
OWN_RESOLVER = AddrPort(str(SERVICE_V4), DNS_PORT)
TCP = 6
_LENGTH = struct.Struct(">H")
_PROBES = {4: ip_address("0.0.0.0"), 6: ip_address("2000::")}  # noqa: S104  # compared with rules, never listened at
"""A peer may ask if the packet filter would let it connect to port 53 there."""

Lookup = Callable[[bytes], Awaitable[bytes]]


def add_names(
    routes: PeerRoutes, lookup: Lookup, offers: Callable[[], bool], filtered: Callable[[], Iterable[str]]
) -> None:
    """`offers`: whether this node is an exit or an app connector; `filtered` are names that peers may not ask about."""

    async def answer(request: PeerRequest) -> web.StreamResponse:
        if not may_ask(request.caller, offers=offers()):
            return text(403, "DNS access denied")
        try:
            message = await _message(request.http)
            query = parse_query(message)
        except (DecodeError, ValueError):
            return text(400, "not a DNS query")
        if is_filtered(query.name, filtered()):
            return web.Response(body=build_reply(query, REFUSED, authoritative=False), content_type=TYPE)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reply = await lookup(message)
        except (OSError, EOFError, ApplianceError):
            return text(500, "the resolver does not answer")
        return web.Response(body=reply, content_type=TYPE)

    routes.add(NAMES_PATH, answer)


def may_ask(caller: Caller, *, offers: bool) -> bool:
    if caller.is_self:
        return True
    address = caller.source.address
    packet = Packet(address, _PROBES[address.version], TCP, DNS_PORT)
    granted = {name: (address,) for name in caller.node.cap_map}
    return offers and by_rules(RouterModel(rules=caller.rules, cap_sources=granted), packet).accepted


def is_filtered(name: str, filtered: Iterable[str]) -> bool:
    """An entry with a dot in front means all names below it, else that name alone."""
    return any(
        (is_below(name, entry[1:]) and name != entry[1:]) if entry.startswith(".") else name == entry
        for entry in (each.lower() for each in filtered)
    )


async def _message(request: web.BaseRequest) -> bytes:
    """Raises ValueError."""
    if request.method == "POST":
        if request.content_type != TYPE:
            raise ValueError(request.content_type)
        return await request.content.read(MAX_QUERY_BYTES + 1)
    if request.method != "GET":
        raise ValueError(request.method)
    encoded = request.query.get("dns", "")
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except binascii.Error:
        raise ValueError(encoded[:20]) from None


def resolver_of(dialer: StreamDialer, place: AddrPort = OWN_RESOLVER) -> Lookup:
    """Asks a resolver by TCP; without a place, this host's own. Raises OSError and EOFError."""

    async def lookup(message: bytes) -> bytes:
        stream = await dialer.dial(str(place.ip), place.port, timeout_s=TIMEOUT_S)
        try:
            stream.write(_LENGTH.pack(len(message)) + message)
            await stream.drain()
            received = b""
            while len(received) < 2 or len(received) < 2 + _LENGTH.unpack_from(received)[0]:
                data = await stream.read()
                if not data:
                    raise EOFError("the resolver closed the connection")
                received += data
            return received[2 : 2 + _LENGTH.unpack_from(received)[0]]
        finally:
            stream.close()

    return lookup


def onward_resolver(own: Lookup, places: Callable[[], Sequence[str] | None], dialer: StreamDialer) -> Lookup:
    """Asks `own`, but where an exit has an uplink of its own the resolvers beyond it, one after the other.

    `places` are "ip:port", None: the exit has no such uplink; `dialer` dials through it. Raises OSError and EOFError.
    """

    async def lookup(message: bytes) -> bytes:
        found = places()
        if found is None:
            return await own(message)
        failed: OSError | EOFError = EOFError("no resolver is named for this exit's uplink")
        for place in found:
            try:
                return await resolver_of(dialer, parse_addr_port(place))(message)
            except (OSError, EOFError) as error:
                failed = error
        raise failed

    return lookup
