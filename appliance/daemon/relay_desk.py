"""Peer relays as the policy sees them: which peers this node may use, and who may use this node (spec 5.1, 5.2).

Path finding knows nodes and keys only; the capabilities of the policy are looked up here.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import structlog

from appliance.api.values import RelayOffer, RelayRequest
from appliance.magicsock.relays.timing import MIN_CAPABILITY_VERSION
from appliance.peerapi.caller import Caller, identify
from appliance.proto.disco import RelayEndpoint
from appliance.types.addresses import AddrPort, parse_addr_port
from appliance.types.errors import DecodeError
from appliance.types.keys import DiscoPublicKey, NodePublicKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from appliance.daemon.applier import Situation
    from appliance.magicsock.outbox import RelayAsked
    from appliance.magicsock.service import MagicsockService
    from appliance.netmap.store import NetmapView
    from appliance.types.netmap import FilterRule, NetmapDiff, Node

log = structlog.get_logger("relay")

RELAY = "tailscale.com/cap/relay"
RELAY_TARGET = "tailscale.com/cap/relay-target"
_NO_CLIENT = ("disable-relay-client", "only-tcp-443")


def granted(view: NetmapView | None, node: Node) -> tuple[str, ...]:
    """Application capabilities of a peer toward this node, by name, judged by the first address that both have."""
    own = view.self_node if view is not None else None
    for prefix in node.addresses if own is not None else ():
        if view is None or own is None or own.address(prefix.version) is None:
            continue
        source = AddrPort(str(prefix.network_address), 0)
        caller = Caller(own, own, source, "", view.filter_rules) if node is own else identify(view, source)
        return tuple(sorted(caller.capabilities())) if caller is not None else ()
    return ()


class RelayDesk:
    """`ask` is the plugins' hook."""

    def __init__(
        self, magicsock: MagicsockService, situation: Situation, ask: Callable[[RelayRequest], RelayOffer | None]
    ) -> None:
        self._magicsock = magicsock
        self._situation = situation
        self._ask = ask
        self._servers: frozenset[NodePublicKey] = frozenset()
        self._rules: tuple[FilterRule, ...] = ()
        """Those that speak of relays: none in most meshes, and then nothing is looked at."""
        self._enabled = True
        magicsock.serve_relay = self.serve

    @property
    def servers(self) -> frozenset[NodePublicKey]:
        """Peers that this node may use as relays."""
        return self._servers

    def apply(self, diff: NetmapDiff) -> None:
        """Called after path finding has the diff. Looks at all peers only when the policy or this node changed."""
        view = self._situation.view
        own = view.self_node if view is not None else None
        if view is None or own is None:
            return self.clear()
        enabled = not any(name in own.cap_map for name in _NO_CLIENT)
        if diff.full or diff.filter_changed or diff.self_changed:
            self._rules = tuple(rule for rule in view.filter_rules if rule.cap_grants and _speaks_of_relays(rule))
            servers = frozenset(node.key for node in self._named(view, own) if self._serves(own, node))
        elif self._rules:
            gone = {node.key for node in (*diff.removed.values(), *diff.previous.values())}
            come = {node.key for node in diff.changed.values() if self._serves(own, node)}
            servers = self._servers - gone - {node.key for node in diff.changed.values()} | come
        else:
            return
        self._use(servers, enabled)

    def _named(self, view: NetmapView, own: Node) -> Iterable[Node]:
        """Whom the rules may mean: mostly a few by their addresses, and only else everybody."""
        found: dict[NodePublicKey, Node] = {}
        for text in {text for rule in self._rules for text in rule.src_ips}:
            try:
                address = ip_address(text.removesuffix("/32").removesuffix("/128"))
            except ValueError:
                return (own, *view.peers.values())
            node = own if own.address(address.version) == address else view.peer_by_address(address)
            if node is not None:
                found[node.key] = node
        return found.values()

    def clear(self) -> None:
        """Off the mesh."""
        self._rules = ()
        self._use(frozenset(), True)

    def _use(self, servers: frozenset[NodePublicKey], enabled: bool) -> None:
        if (servers, enabled) != (self._servers, self._enabled):
            self._servers, self._enabled = servers, enabled
            self._magicsock.set_relays(servers, enabled=enabled)

    def _serves(self, own: Node, node: Node) -> bool:
        """Our own relay serves us too, where it may."""
        if node.expired or (node.capability_version < MIN_CAPABILITY_VERSION and node is not own):
            return False
        source = next((prefix for prefix in node.addresses if own.address(prefix.version) is not None), None)
        if source is None:
            return False
        caller = Caller(node, own, AddrPort(str(source.network_address), 0), "", self._rules)
        return RELAY_TARGET in caller.capabilities()

    def serve(self, asked: RelayAsked) -> RelayEndpoint | None:
        """A peer asks this node; the policy decides, then a plugin."""
        view = self._situation.view
        node = view.peer_by_key(asked.peer) if view is not None else None
        if view is not None and view.self_node is not None and view.self_node.key == asked.peer:
            node = view.self_node
        if node is None or RELAY not in granted(view, node):
            log.debug("a peer without the right asks for a relay", peer=asked.peer.short)
            return None
        first, second = asked.clients
        offer = self._ask(RelayRequest(node.stable_id, (str(first), str(second))))
        return _endpoint(offer, asked.clients) if offer is not None else None


def _speaks_of_relays(rule: FilterRule) -> bool:
    return any(RELAY_TARGET in grant.cap_map for grant in rule.cap_grants)


def _endpoint(offer: RelayOffer, clients: tuple[DiscoPublicKey, DiscoPublicKey]) -> RelayEndpoint | None:
    """None where the plugin's offer has no wire form."""
    try:
        return RelayEndpoint(
            server=DiscoPublicKey.parse(offer.server),
            clients=(min(clients), max(clients)),
            lamport_id=offer.lamport_id,
            vni=offer.vni,
            bind_lifetime_ns=int(offer.bind_lifetime_s * 1e9),
            steady_lifetime_ns=int(offer.steady_lifetime_s * 1e9),
            addresses=tuple(parse_addr_port(text) for text in offer.addresses),
        )
    except (DecodeError, ValueError) as error:
        log.warning("a relay's offer is wrong", error=str(error))
        return None
