"""Hook implementations of `peer_relay`: they delegate to the relay and to pure modules."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api import (
    CommandReply,
    HealthItem,
    HostHandle,
    HostinfoPart,
    Metric,
    NetmapChange,
    Panel,
    RelayOffer,
    RelayRequest,
    Service,
    hookimpl,
)
from plugins.peer_relay.config import PeerRelayConfig
from plugins.peer_relay.health import health_items
from plugins.peer_relay.kernel import KernelService
from plugins.peer_relay.metrics import metrics
from plugins.peer_relay.panel import panel, status_text
from plugins.peer_relay.relay import Relay
from plugins.peer_relay.service import RelayService

FORBIDDEN = "disable-relay-server"
JSON = "--json"


class PeerRelay:
    def __init__(self) -> None:
        self._relay = Relay()

    @hookimpl
    def appliance_configure(self, config: PeerRelayConfig) -> None:
        self._relay.configure(config)

    @hookimpl
    def appliance_start(self, host: HostHandle) -> Sequence[Service]:
        return RelayService(host, self._relay), KernelService(host, self._relay)

    @hookimpl
    def appliance_netmap_changed(self, change: NetmapChange) -> None:
        names = self._relay.names
        if change.full:
            names.clear()
        for gone in change.removed:
            names.pop(gone, None)
        names.update({peer.stable_id: peer.name.partition(".")[0] for peer in change.changed})
        if change.self_node is not None:
            self._relay.forbidden = FORBIDDEN in change.self_node.capabilities

    @hookimpl
    def appliance_contribute_hostinfo(self) -> HostinfoPart:
        return HostinfoPart(flags={"PeerRelay": not self._relay.forbidden})

    @hookimpl
    def appliance_relay_request(self, request: RelayRequest) -> RelayOffer | None:
        return self._relay.offer(request)

    @hookimpl
    def appliance_check_health(self) -> Sequence[HealthItem]:
        return health_items(self._relay)

    @hookimpl
    def appliance_status_panel(self) -> Panel:
        return panel(self._relay)

    @hookimpl
    def appliance_metrics(self) -> Sequence[Metric]:
        return metrics(self._relay)

    @hookimpl
    def appliance_run_command(self, arguments: tuple[str, ...]) -> CommandReply:
        unknown = [each for each in arguments if each != JSON]
        if unknown:
            return CommandReply(f"status takes no {unknown[0]!r}, only {JSON}", ok=False)
        return CommandReply(status_text(self._relay, as_json=JSON in arguments))
