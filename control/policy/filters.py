"""The packet filter of one node (policy-and-management spec 2.3, 2.4): rules reduced to its addresses and routes."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from appliance.types.netmap import CapGrant, FilterRule, PortRange
from control.policy.members import lone_owner, node_ranges, prefix_order
from control.policy.ranges import INTERNET, in_internet, overlaps, prefix_text, render
from control.policy.rules import COMPANIONS, bits
from control.policy.selectors import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from appliance.types.addresses import Prefix
    from control.policy.facts import NodeFacts
    from control.policy.members import Entry, Members
    from control.policy.model import Destination
    from control.policy.rules import CompiledRule, RuleTable
    from control.policy.selectors import Selector


NAMES_PORTS = (PortRange("0.0.0.0", 53, 53), PortRange("2000::", 53, 53))  # noqa: S104  # a rule, nothing listens there
"""Whoever may send there may have an app connector look names up (apps spec 1.5)."""
_NAMES_PROTOCOLS = frozenset({6, 17})


class FilterBuilder:
    """`is_connector`: whether the policy makes the node an app connector."""

    def __init__(self, rules: RuleTable, members: Members, is_connector: Callable[[Entry], bool]) -> None:
        self._rules = rules
        self._members = members
        self._is_connector = is_connector

    def build(self, entry: Entry) -> tuple[FilterRule, ...]:
        """Packet rules with equal sources and protocol are one; capability rules stay apart."""
        found: list[FilterRule] = []
        places: dict[tuple[tuple[str, ...], tuple[int, ...]], int] = {}
        for rule in self._rules_of(entry):
            key = (rule.src_ips, rule.ip_protos)
            place = None if rule.cap_grants else places.get(key)
            if place is None:
                if not rule.cap_grants:
                    places[key] = len(found)
                found.append(rule)
            else:
                ports = found[place].dst_ports + rule.dst_ports
                found[place] = FilterRule(rule.src_ips, ports, rule.ip_protos)
        return tuple(found)

    def _rules_of(self, entry: Entry) -> Iterator[FilterRule]:
        kind = entry.kind
        mask = kind.filtered | kind.companion
        named: set[tuple[str, ...]] = set()
        if lone_owner(entry.node) is not None:
            mask |= self._rules.self_rules
        for number in bits(mask):
            rule = self._rules.rules[number]
            if rule.is_self:
                yield from self._toward_self(entry, number, rule)
                continue
            if kind.filtered >> number & 1:
                yield from self._plain(entry, rule)
                yield from self._names(entry, rule, named)
            if kind.companion >> number & 1:
                yield from self._companions(entry, rule)

    def _plain(self, entry: Entry, rule: CompiledRule) -> Iterator[FilterRule]:
        sources = self._members.source_text(rule.source)
        if rule.is_app:
            grants = self._grants(entry, rule)
            if grants:
                yield FilterRule(src_ips=sources, cap_grants=grants)
            return
        ports = tuple(self._ports(entry, rule))
        if ports and sources:
            yield FilterRule(sources, ports, rule.rule.protocol)

    def _names(self, entry: Entry, rule: CompiledRule, named: set[tuple[str, ...]]) -> Iterator[FilterRule]:
        """Who may look names up at an app connector, unless the rule says that already; once per sources."""
        sources = self._members.source_text(rule.source)
        if not sources or sources in named or not self._is_connector(entry) or not self._reaches_apps(entry, rule):
            return
        named.add(sources)
        if not any(_is_everything(destination) for destination in rule.rule.destinations):
            yield FilterRule(sources, NAMES_PORTS)

    def may_look_up(self, viewer: Entry, connector: Entry) -> bool:
        """Whether one of the rules that name the viewer lets it use the apps of a connector."""
        shared = bits(viewer.kind.src & connector.kind.filtered)
        return any(self._reaches_apps(connector, self._rules.rules[number]) for number in shared)

    def _reaches_apps(self, entry: Entry, rule: CompiledRule) -> bool:
        """Whether a rule leads to port 53 of a connector or to something behind it."""
        protocols = rule.rule.protocol
        if rule.is_app or rule.is_self or (protocols and not _NAMES_PROTOCOLS & set(protocols)):
            return False
        routes = (*entry.node.subnet_routes, *entry.node.exit_routes)
        for destination in rule.rule.destinations:
            selector = destination.selector
            if selector.kind in (Kind.ANY, Kind.INTERNET) or any(
                overlaps(network, route) for network in selector.networks for route in routes
            ):
                return True
            if any(first <= 53 <= last for first, last in destination.ports) and self._is_own(selector, entry):
                return True
        return False

    def _is_own(self, selector: Selector, entry: Entry) -> bool:
        if selector.is_network:
            return any(overlaps(network, own) for network in selector.networks for own in own_prefixes(entry.node))
        return selector.kind is not Kind.SERVICE and entry.node.id in self._members.holders(selector)

    def _ports(self, entry: Entry, rule: CompiledRule) -> Iterator[PortRange]:
        for destination in rule.rule.destinations:
            for text in self._destination_texts(destination.selector, entry, by_via=bool(rule.rule.via)):
                for first, last in destination.ports:
                    yield PortRange(text, first, last)

    def _destination_texts(self, selector: Selector, entry: Entry, *, by_via: bool) -> tuple[str, ...]:
        """What of a destination is this node's: the networks as they are written, or its own addresses."""
        node = entry.node
        if selector.kind is Kind.ANY:
            return ("*",)
        if selector.kind is Kind.INTERNET:
            return _internet_texts(node, by_via=by_via)
        if selector.is_network:
            kept = (one for one in selector.networks if _concerns(one, node, by_via=by_via))
            return tuple(prefix_text(prefix) for prefix in kept)
        if by_via or node.id not in self._members.holders(selector):
            return ()
        if selector.kind is Kind.SERVICE:
            return tuple(str(address) for address in self._members.services.get(selector.value, ()))
        return str(node.ipv4), str(node.ipv6)

    def _grants(self, entry: Entry, rule: CompiledRule) -> tuple[CapGrant, ...]:
        cap_map = dict(rule.rule.app)
        narrowed = (self._narrowed(dst.selector, entry) for dst in rule.rule.destinations)
        return tuple(CapGrant(dsts, cap_map) for dsts in narrowed if dsts)

    def _narrowed(self, selector: Selector, entry: Entry) -> tuple[Prefix, ...]:
        """The node's own addresses in the selector, and networks of it that touch the node's subnets."""
        node = entry.node
        if selector.kind is Kind.SERVICE:
            hosted = node.id in self._members.holders(selector)
            return _prefixes(self._members.services.get(selector.value, ())) if hosted else ()
        if not selector.is_network:
            return own_prefixes(node) if node.id in self._members.holders(selector) else ()
        found = {
            own for own in own_prefixes(node) for network in selector.networks if overlaps(network, own)
        } | {
            network for network in selector.networks for route in node.subnet_routes if overlaps(network, route)
        }  # fmt: skip
        return tuple(sorted(found, key=prefix_order))

    def _companions(self, entry: Entry, rule: CompiledRule) -> Iterator[FilterRule]:
        """What the sources must know of a capability toward others: the rule turned round."""
        sources = self._members.source_text(rule.reverse)
        found = {prefix for one in rule.rule.sources for prefix in self._narrowed(one, entry)}
        dsts = tuple(sorted(found, key=prefix_order))
        if dsts:
            yield from (companion_rule(sources, dsts, name) for name in rule.companions)

    # autogroup:self

    def _toward_self(self, entry: Entry, number: int, rule: CompiledRule) -> Iterator[FilterRule]:
        owner = lone_owner(entry.node)
        assert owner is not None
        entries = self._members.entries
        siblings = [entries[node_id] for node_id in self._members.untagged[owner]]
        sources = render(*node_ranges(one.node for one in siblings if one.kind.self_src >> number & 1))
        if not sources:
            return
        if not rule.is_app:
            yield FilterRule(sources, tuple(_self_ports(entry.node, rule)), rule.rule.protocol)
            return
        own = own_prefixes(entry.node)
        yield FilterRule(src_ips=sources, cap_grants=(CapGrant(own, dict(rule.rule.app)),))
        if entry.kind.self_src >> number & 1:
            everybody = render(*node_ranges(one.node for one in siblings))
            yield from (companion_rule(everybody, own, name) for name in rule.companions)


def _is_everything(destination: Destination) -> bool:
    return destination.selector.kind is Kind.ANY and any(first <= 53 <= last for first, last in destination.ports)


def companion_rule(sources: tuple[str, ...], dsts: tuple[Prefix, ...], name: str) -> FilterRule:
    assert name in COMPANIONS.values()
    return FilterRule(src_ips=sources, cap_grants=(CapGrant(dsts, {name: ()}),))


def own_prefixes(node: NodeFacts) -> tuple[Prefix, Prefix]:
    return ip_network(node.ipv4), ip_network(node.ipv6)


def _prefixes(addresses: Iterable[object]) -> tuple[Prefix, ...]:
    return tuple(ip_network(str(address)) for address in addresses)


def _internet_texts(node: NodeFacts, *, by_via: bool) -> tuple[str, ...]:
    if node.exit_routes:
        kept: Iterable[Prefix] = INTERNET
    elif by_via:
        kept = ()
    else:
        kept = (part for part in INTERNET if any(overlaps(part, route) for route in node.subnet_routes))
    return tuple(prefix_text(prefix) for prefix in kept)


def _concerns(network: Prefix, node: NodeFacts, *, by_via: bool) -> bool:
    """Whether a literal network is one of the node's addresses, touches its subnets or is Internet that it carries."""
    if any(overlaps(network, route) for route in node.subnet_routes):
        return True
    if by_via:
        return False
    if (node.ipv4 if network.version == 4 else node.ipv6) in network:
        return True
    return bool(node.exit_routes) and in_internet(network)


def _self_ports(node: NodeFacts, rule: CompiledRule) -> Iterator[PortRange]:
    for destination in rule.rule.destinations:
        for address in (str(node.ipv4), str(node.ipv6)):
            for first, last in destination.ports:
                yield PortRange(address, first, last)
