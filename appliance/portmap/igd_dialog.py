"""One mapping by UPnP: the dialogue with the router as a generator (derp spec 10.7).

It yields requests and is sent the replies (None: none came). Every request goes to the router's own address.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.portmap.mapping import LABEL, WANTED_LIFETIME_S, is_inside
from appliance.portmap.requests import NO_ADDRESS, Wish
from appliance.proto.portmap import igd
from appliance.proto.portmap.igd import ActionReply, Service
from appliance.proto.portmap.ssdp import Answer
from appliance.proto.portmap.web import Reply
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError

CONFLICT_TRIES = 4
MAX_CANDIDATES = 4
_FIRST_PORT, _LAST_PORT = 1024, 65534


@dataclass(frozen=True, slots=True)
class WebRequest:
    """Bytes for a new TCP connection to `port` of the router."""

    port: int
    data: bytes


@dataclass(frozen=True, slots=True)
class IgdResult:
    """`service` None: nothing was mapped, `error` says why."""

    service: Service | None = None
    external: AddrPort = NO_ADDRESS
    error: str = ""


Dialogue = Generator[WebRequest, Reply | None, IgdResult]


@dataclass(frozen=True, slots=True)
class _Rated:
    """A service and the address that it says it has."""

    service: Service
    rank: int
    address: IPv4Address


def ask_for_mapping(
    wish: Wish, answers: Sequence[Answer], known: Service | None, below: Callable[[int], int]
) -> Dialogue:
    """Map through the service used before, else through the devices that answered. `below` draws a random number."""
    error = "its description cannot be read"
    if known is not None:
        result = yield from _map_by_best(wish, (known,), below)
        if result.service is not None:
            return result
        error = result.error
    for answer in answers[:MAX_CANDIDATES]:
        services = yield from _describe(wish, answer)
        if services:
            result = yield from _map_by_best(wish, services, below)
            if result.service is not None:
                return result
            error = result.error
    return IgdResult(error=error)


def forget_mapping(wish: Wish, service: Service, external_port: int) -> WebRequest:
    """The request that deletes a mapping; its reply does not matter."""
    arguments = igd.port_arguments(external_port)
    data = igd.encode_action(wish.place.router, service, "DeletePortMapping", arguments)
    return WebRequest(service.control.port, data)


def _describe(wish: Wish, answer: Answer) -> Generator[WebRequest, Reply | None, tuple[Service, ...]]:
    try:
        place = igd.parse_location(answer.location)
        reply = yield WebRequest(place.port, igd.encode_get(wish.place.router, place))
        if reply is None or reply.status != 200:
            return ()
        return igd.parse_description(reply.body, answer.location)
    except DecodeError:
        return ()


def _call(
    wish: Wish, service: Service, action: str, arguments: Sequence[tuple[str, str]] = ()
) -> Generator[WebRequest, Reply | None, ActionReply | None]:
    """None when the router did not answer, or nonsense."""
    reply = yield WebRequest(service.control.port, igd.encode_action(wish.place.router, service, action, arguments))
    if reply is None:
        return None
    try:
        return igd.parse_action_reply(reply.status, reply.body, action)
    except DecodeError:
        return None


def _map_by_best(wish: Wish, services: Sequence[Service], below: Callable[[int], int]) -> Dialogue:
    """Asks for the outside address first: a query that fails after a permanent lease would leak one at each try."""
    rated = []
    for service in services:
        found = yield from _rate(wish, service, alone=len(services) == 1)
        if found is not None:
            rated.append(found)
    error = "it does not tell its outside address"
    for item in sorted(rated, key=lambda candidate: candidate.rank):
        port, error = yield from _add(wish, item.service, below)
        if port:
            return IgdResult(item.service, AddrPort(str(item.address), port))
    return IgdResult(error=error)


def _rate(wish: Wish, service: Service, *, alone: bool) -> Generator[WebRequest, Reply | None, _Rated | None]:
    """0: connected with a public address, 1: connected, 2: not connected. None: no usable address."""
    connected = True
    if not alone:
        status = yield from _call(wish, service, "GetStatusInfo")
        connected = status is not None and status.values.get("NewConnectionStatus") in ("Connected", "Up")
    reply = yield from _call(wish, service, "GetExternalIPAddress")
    address = igd.parse_external_address(reply) if reply is not None else None
    if address is None:
        return None
    return _Rated(service, int(is_inside(address)) if connected else 2, address)


def _add(
    wish: Wish, service: Service, below: Callable[[int], int]
) -> Generator[WebRequest, Reply | None, tuple[int, str]]:
    """The external port, or 0 and why not."""
    any_port = service.type == igd.IP_V2
    action = "AddAnyPortMapping" if any_port else "AddPortMapping"
    port, lease, error = wish.external.port, WANTED_LIFETIME_S, ""
    for _ in range(CONFLICT_TRIES):
        if port < _FIRST_PORT:
            port = _FIRST_PORT + below(_LAST_PORT - _FIRST_PORT + 1)
        arguments = igd.add_arguments(port, wish.internal_port, wish.place.own, lease, LABEL)
        reply = yield from _call(wish, service, action, arguments)
        if reply is None:
            return 0, "it did not answer"
        if reply.error is None:
            reserved = igd.parse_port(reply.values.get("NewReservedPort", "")) if any_port else port
            return (reserved, "") if reserved else (0, "it did not say which port it gave")
        error = f"refused with error {reply.error}"
        if reply.error in (igd.ONLY_PERMANENT_LEASES, igd.INVALID_ARGUMENTS) and lease:
            lease = 0
        elif reply.error == igd.CONFLICT:
            port = 0
        else:
            return 0, error
    return 0, error
