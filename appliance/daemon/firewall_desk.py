"""`FirewallBackend` of the local API: names to addresses, then the router's own explanation of what it applied."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from appliance.daemon.peer_lookup import NoSuchPeerError, NotConnectedError, find_peer
from appliance.localapi.firewall_schema import FirewallQuery, FirewallVerdict
from appliance.netmap.store import NetmapView
from appliance.router.explain import Packet, explain
from appliance.router.model import RouterModel
from appliance.types.addresses import Address
from appliance.types.errors import ConfigError
from appliance.types.netmap import Node

ICMP = {4: 1, 6: 58}
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "tsmp": 99}
MAX_PORT = 65535


class FirewallDesk:
    """`view` and `model` give what is known and applied now, None while there is nothing."""

    def __init__(self, view: Callable[[], NetmapView | None], model: Callable[[], RouterModel | None]) -> None:
        self._view = view
        self._model = model

    def explain(self, query: FirewallQuery) -> FirewallVerdict:
        """Raises `NotConnectedError`, `NoSuchPeerError` and `ConfigError`."""
        view, model = self._view(), self._model()
        if view is None or model is None:
            raise NotConnectedError
        sources, destinations = addresses_of(view, query.source), addresses_of(view, query.destination)
        pairs = [(source, destination) for source in sources for destination in destinations]
        source, destination = next((pair for pair in pairs if pair[0].version == pair[1].version), pairs[0])
        protocol = protocol_number(query.protocol, destination.version)
        if not 0 <= query.port <= MAX_PORT:
            raise ConfigError(f"{query.port} is no port", mend=f"give 0 to {MAX_PORT}", code="bad-port")
        packet = Packet(source, destination, protocol, query.port, icmp_type=128 if destination.version == 6 else 8)
        verdict = explain(model, packet)
        rule = None if verdict.rule is None else verdict.rule + 1
        return FirewallVerdict(accepted=verdict.accepted, reason=verdict.reason, packet=str(packet), rule=rule)


def addresses_of(view: NetmapView, text: str) -> list[Address]:
    """Of a literal, this node or a peer. Raises `NoSuchPeerError`."""
    try:
        return [ip_address(text)]
    except ValueError:
        own = view.self_node
        wanted = text.rstrip(".").lower()
        node = own if own is not None and wanted in _names(own) else find_peer(view, text)
        if not node.addresses:
            raise NoSuchPeerError(f"{text} has no address", mend="waypost status shows its peers' addresses") from None
        return [prefix.network_address for prefix in node.addresses]


def protocol_number(text: str, version: int) -> int:
    """Raises `ConfigError`."""
    name = text.lower()
    if name in ("icmp", "icmpv6"):
        return ICMP[version]
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if name.isascii() and name.isdecimal() and len(name) <= 3 and int(name) <= 255:
        return int(name)
    names = ", ".join([*PROTOCOLS, "icmp"])
    raise ConfigError(f"{text!r} is no protocol", mend=f"give {names} or a number", code="bad-protocol")


def _names(node: Node) -> tuple[str, ...]:
    name = node.name.rstrip(".").lower()
    return name, name.partition(".")[0]
