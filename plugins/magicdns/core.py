"""What hooks and service share: the resolver with its parts, and the state that people see."""

from __future__ import annotations

import asyncio
import struct
import time
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from appliance.api import NetmapChange
from appliance.proto.dns import encode_name
from appliance.proto.dns.numbers import AAAA, IN, A
from appliance.types.errors import ApplianceError, DecodeError
from plugins.magicdns.config import MagicDnsConfig
from plugins.magicdns.errors import UpstreamError
from plugins.magicdns.forward import Forwarder, Question, UpstreamHealth
from plugins.magicdns.listen import Judge
from plugins.magicdns.records import parse_record
from plugins.magicdns.resolver import Resolver
from plugins.magicdns.routes import RouteTable
from plugins.magicdns.rules import LocalNames
from plugins.magicdns.state import DnsState, UpstreamState
from plugins.magicdns.transports import Transports
from plugins.magicdns.upstream import Kind, Upstream, known_addresses


class Core:
    """Belongs to one event loop. `changed` wakes the service."""

    def __init__(self) -> None:
        self.state = DnsState()
        self.changed = asyncio.Event()
        self.names = LocalNames()
        self.transports = Transports(self._addresses_of)
        self.forwarder = Forwarder(self.transports, time.monotonic)
        self.resolver = Resolver(self.names, self.forwarder, time.monotonic, time.time)
        self.judge: Judge = lambda _source: None
        self.group: asyncio.TaskGroup | None = None
        """The service's, while it runs."""

    # --- what hooks tell

    def configure(self, config: MagicDnsConfig) -> None:
        self.state = replace(self.state, config=config)
        records = [parse_record(text, "records") for text in config.records]
        self.names.set_records(records, short_names=config.short_names)
        self.resolver.cache.resize(config.cache_entries, config.serve_stale_s)
        self.resolver.cache.clear()
        self.resolver.protection.on = config.rebind_protection
        self.resolver.protection.allowed = tuple(name.strip(".").lower() for name in config.rebind_allow)
        self._set_control()
        self.changed.set()

    def netmap_changed(self, change: NetmapChange) -> None:
        self.names.change(change)
        if change.full or change.self_node is not None:
            self.state = replace(self.state, own=change.self_node)
        if change.dns is not None and change.dns != self.state.dns:
            self.state = replace(self.state, dns=change.dns)
            self.resolver.cache.clear()
            self._set_control()
        if change.full or change.self_node is not None or change.dns is not None:
            self.changed.set()
        self.note(names=len(self.names), wrong_records=self.names.rejected)

    def _set_control(self) -> None:
        config, dns = self.state.config, self.state.dns
        accepted = dns.domains if config.accept or not dns.proxied else dns.domains[:1]
        self.names.set_control(dns, (*(name.strip(".") for name in config.search), *accepted))

    # --- what the service tells

    def note(self, **values: Any) -> None:
        self.state = replace(self.state, **values)

    def set_routes(self, routes: RouteTable) -> None:
        self.resolver.set_routes(routes)

    def measure(self) -> None:
        """Take counters and the resolvers' health over into the state."""
        routes = self.resolver.routes
        shown = [self._upstream("", each) for each in routes.default]
        shown += [self._upstream(suffix, each) for suffix, found in routes.suffixes.items() for each in found]
        self.note(
            upstreams=tuple(shown),
            failing_s=self.forwarder.failing_s,
            ca_problem=self.transports.trust.problem,
            counters=dict(self.resolver.counters.items()),
            cached_entries=len(self.resolver.cache),
        )

    def _upstream(self, route: str, upstream: Upstream) -> UpstreamState:
        known = self.forwarder.health.get(upstream, UpstreamHealth())
        return UpstreamState(
            str(upstream),
            route,
            known.asked,
            known.answered,
            known.failed,
            known.latency_s,
            known.error,
            known.untrusted,
            (route, upstream) in self.resolver.loops.found,
        )

    async def _addresses_of(self, name: str) -> tuple[str, ...]:
        """Of an upstream that is known by its name: from the list of public ones, or from a plain resolver."""
        with suppress(ValueError):
            return (str(ip_address(name)),)
        if known := known_addresses(name):
            return known
        plain = [each for each in self.resolver.routes.upstreams if each.kind is Kind.PLAIN]
        found: list[str] = []
        for qtype in (A, AAAA):
            with suppress(ApplianceError, DecodeError):
                wire = encode_name(name) + struct.pack(">HH", qtype, IN)
                reply = await self.forwarder.ask(plain, Question(wire, wire.lower()))
                found += [str(address) for _, address, _ in reply.addresses()]
        if found:
            return tuple(found)
        mend = "write its address behind a #, as tls://dns.example#192.0.2.53"
        raise UpstreamError(f"the address of the resolver {name} is not known", mend=mend)
