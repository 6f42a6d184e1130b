"""What hooks and service share: apps, learned routes, and the state that people see."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from appliance.api import AttachedPrefix, DnsAnswer, JsonValue, NetmapChange
from plugins.app_connector.apps import from_policy
from plugins.app_connector.config import AppConnectorConfig
from plugins.app_connector.rules import LearnedRoutes
from plugins.app_connector.state import ConnectorState


class Connector:
    """Belongs to one event loop. `changed` wakes the service when apps may be others."""

    def __init__(self) -> None:
        self.state = ConnectorState()
        self.learned = LearnedRoutes()
        self.changed = asyncio.Event()
        self.tags: tuple[str, ...] = ()
        self.near: tuple[AttachedPrefix, ...] = ()

    def note(self, **values: Any) -> None:
        self.state = replace(self.state, **values)

    def configure(self, config: AppConnectorConfig) -> None:
        self.learned.per_app = config.max_addresses
        self.learned.life_s = config.keep_hours * 3600.0
        self.learned.only_v4 = config.ipv4_only
        self.note(config=config)
        self.changed.set()

    def netmap_changed(self, change: NetmapChange) -> None:
        if change.self_node is not None:
            self.tags = change.self_node.tags
            self.note(approved=frozenset(change.self_node.routes))
            self.changed.set()
        elif change.full:
            self.note(approved=None)

    def set_apps(self, values: Sequence[JsonValue]) -> bool:
        """From the settings and the policy's capability; whether the routes changed."""
        given, wrong = from_policy(values, self.tags)
        apps = (*self.state.config.apps(), *given) if self.state.config.advertise else ()
        if self.state.config.advertise and self.state.approved is not None:  # else the policy is not known yet
            self.learned.keep_only(apps)
        self.note(apps=apps, wrong=wrong)
        return self.refresh()

    def observe(self, answer: DnsAnswer, now: float) -> bool:
        """Whether the routes changed."""
        near = [ip_network(each.prefix) for each in self.near]
        self.learned.observe(answer, self.state.apps, near, now)
        self.note(seen=dict(self.learned.hits))
        return self.refresh()

    def refresh(self) -> bool:
        routes = self.learned.routes(self.state.apps) if self.state.apps else ()
        changed = routes != self.state.routes
        self.note(routes=routes, learned=dict(self.learned.by_app()))
        return changed
