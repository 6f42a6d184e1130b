"""Builds what `waypost status` shows from the parts' own views. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from appliance.daemon.applier import ChangeApplier
from appliance.daemon.hostinfo import VERSION
from appliance.daemon.overlay import served_routes
from appliance.daemon.parts import Core
from appliance.daemon.path_reasons import reasons_of
from appliance.daemon.saved_netmap import SavedState
from appliance.localapi.schema import (
    ControlStatus,
    DerpStatus,
    ErrorReply,
    Health,
    NetcheckReport,
    Path,
    PeerStatus,
    PluginStatus,
    RegionLatency,
    Route,
    SelfStatus,
    Status,
    UplinkStatus,
)
from appliance.magicsock.netcheck.report import Report
from appliance.magicsock.status import PathStatus
from appliance.netmap.client import ControlClient
from appliance.netmap.store import NetmapView
from appliance.pluginhost.host import PluginHost
from appliance.pluginhost.snapshots import offered_routes
from appliance.portmap.mapping import Kind, PortMapping
from appliance.ports.engine import PeerStatistics
from appliance.types.addresses import parse_prefix
from appliance.types.events import BackendState
from appliance.types.ids import RegionId, StableNodeId
from appliance.types.keys import NodePublicKey, SecretKey
from appliance.types.netmap import DerpMap, Node
from appliance.uplinks.service import UplinkState

CONTROL_HEALTH = "control-unreachable"
_NOT_ACCEPTED = "not accepted: waypost set --accept-routes"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The state machine's part of the status."""

    state: BackendState
    waiting_for: str = ""
    login_error: ErrorReply | None = None
    auth_url: str = ""
    login_pending: bool = False
    control_url: str = ""
    connected: bool = False
    node_key: str = ""
    hostname: str = ""
    saved: SavedState | None = None
    unconfirmed_s: float | None = None


class StatusBuilder:
    def __init__(self, core: Core, plugins: PluginHost, applier: ChangeApplier) -> None:
        self._core = core
        self._plugins = plugins
        self._applier = applier

    def build(self, progress: Progress, view: NetmapView | None, *, peers: bool) -> Status:
        """`view` None: there is no netmap."""
        engine = self._core.engine
        return Status(
            version=VERSION,
            state=progress.state,
            waiting_for=progress.waiting_for,
            login_error=progress.login_error,
            auth_url=progress.auth_url,
            login_pending=progress.login_pending,
            unconfirmed_s=progress.unconfirmed_s,
            interface=engine.interface,
            engine=engine.kind,
            rootless=self._core.rootless,
            engine_form=self._core.engine_form,
            engine_reason=self._core.engine_reason,
            port=next((port.port for port in engine.local_ports()), 0),
            self_node=self._self_node(progress, view),
            control=self._control(progress, view),
            derp=self._derp(view),
            peers=self._peers(view) if peers and view is not None else (),
            routes=self._routes(view) if view is not None else (),
            health=self._health(view),
            plugins=tuple(
                PluginStatus(name=each.name, state=each.state, error=each.problem) for each in self._plugins.statuses()
            ),
            uplinks=tuple(uplink_status(each) for each in self._core.uplinks()),
        )

    def _self_node(self, progress: Progress, view: NetmapView | None) -> SelfStatus:
        node = view.self_node if view is not None else None
        advertised = self._plugins.hooks.contribute_routes()
        endpoints = tuple(str(endpoint.addr_port) for endpoint in self._core.magicsock.endpoints)
        if node is None or view is None:
            return SelfStatus(
                hostname=progress.hostname,
                node_key=progress.node_key,
                advertised_routes=advertised,
                endpoints=endpoints,
            )
        return SelfStatus(
            stable_id=node.stable_id,
            name=node.name.rstrip("."),
            hostname=node.hostname or progress.hostname,
            addresses=_addresses(node),
            node_key=str(node.key),
            tags=node.tags,
            user=_user(view, node),
            key_expiry=node.key_expiry,
            advertised_routes=advertised,
            approved_routes=tuple(str(prefix) for prefix in served_routes(node)),
            endpoints=endpoints,
        )

    def _control(self, progress: Progress, view: NetmapView | None) -> ControlStatus:
        error = next((item.text for item in self._core.health.items() if item.code == CONTROL_HEALTH), "")
        return ControlStatus(
            url=progress.control_url,
            connected=progress.connected,
            domain=view.domain if view is not None else "",
            error="" if progress.connected else error,
            saved_netmap=progress.saved.saved_at if progress.saved else None,
            unreachable_since=progress.saved.unreachable_since if progress.saved else None,
        )

    def _derp(self, view: NetmapView | None) -> DerpStatus:
        home = self._core.magicsock.home_region
        region = view.derp_map.regions.get(home) if view is not None else None
        if not home or region is None or view is None:
            return DerpStatus()
        connected = home in self._core.magicsock.connected_regions
        report = self._core.magicsock.last_report()
        found = report.region_latency.items() if report is not None else ()
        latency_s = {region_code(view.derp_map, each): seconds for each, seconds in found}
        return DerpStatus(
            region_id=home, region=region.code, name=region.name, connected=connected, latency_s=latency_s
        )

    def _peers(self, view: NetmapView) -> tuple[PeerStatus, ...]:
        statistics = self._core.engine.statistics()
        return tuple(self._peer(view, node, statistics) for node in view.peers.values())

    def _peer(self, view: NetmapView, node: Node, statistics: Mapping[NodePublicKey, PeerStatistics]) -> PeerStatus:
        numbers = statistics.get(node.key, PeerStatistics())
        path = self._core.magicsock.status(node.key)
        return PeerStatus(
            stable_id=node.stable_id,
            name=node.name.rstrip("."),
            addresses=_addresses(node),
            node_key=str(node.key),
            user=_user(view, node),
            os=node.os,
            tags=node.tags,
            online=node.online,
            last_seen=node.last_seen,
            path=current_path(view.derp_map, path) if path else Path(),
            home_region=region_code(view.derp_map, node.home_derp),
            tx_bytes=numbers.tx_bytes,
            rx_bytes=numbers.rx_bytes,
            last_handshake=numbers.last_handshake,
            active=path is not None and path.active,
            routes=tuple(str(prefix) for prefix in served_routes(node)),
            expired=node.expired,
            reasons=reasons_of(path) if path is not None and path.active else None,
        )

    def _routes(self, view: NetmapView) -> tuple[Route, ...]:
        reasons = {each.prefix: each.reason for each in self._applier.selection.refused}
        found = []
        for offer in offered_routes(view.peers.values()):
            peer = view.peer_by_stable_id(StableNodeId(offer.stable_id))
            prefix = parse_prefix(offer.prefix)
            installed = self._applier.is_installed(prefix)
            unused = "an exit: waypost exit use" if offer.prefix.endswith("/0") else _NOT_ACCEPTED
            installed = installed and self._applier.serves(StableNodeId(offer.stable_id), prefix)
            reason = "" if installed else reasons.get(offer.prefix, unused)
            name = peer.name.rstrip(".") if peer is not None else offer.stable_id
            behind = installed and self._applier.stands_behind(prefix)
            found.append(Route(prefix=offer.prefix, peer=name, installed=installed, reason=reason, own_first=behind))
        return tuple(found)

    def _health(self, view: NetmapView | None) -> tuple[Health, ...]:
        return tuple(
            Health(code=item.code, severity=item.severity, text=item.text, mend=item.mend, since=item.since)
            for item in self._core.health.items()
        )


def waiting_text(client: ControlClient, control_url: str, saved: SavedState | None, configured: bool) -> str:
    """What a gateway with a login waits for, "" when all is well."""
    if client.auth_url:
        return "waiting for somebody to open the login page"
    if client.state is BackendState.NEEDS_APPROVAL:
        return "waiting for an administrator to approve this device"
    if not client.is_connected:
        return saved.text if saved is not None else f"connecting to {control_url}"
    return "" if configured else "setting up addresses, routes and filter"


def summary_line(state: BackendState, waiting: str, view: NetmapView | None) -> str:
    """One line about all."""
    return f"{state}: {waiting}" if waiting else f"{state}, {len(view.peers) if view is not None else 0} peers"


def current_path(derp_map: DerpMap, status: PathStatus) -> Path:
    """Where the peer's packets go now, in the words of the local API."""
    path = path_of(derp_map, status.kind, status.endpoint, status.region, status.latency_s)
    return msgspec.structs.replace(path, mtu=status.mtu)


def path_of(derp_map: DerpMap, kind: Any, endpoint: object, region: RegionId | None, latency_s: float | None) -> Path:
    """A path in the words of the local API."""
    return Path(
        kind=kind,
        endpoint=str(endpoint) if endpoint is not None else "",
        region=region_code(derp_map, region) if region else "",
        latency_s=latency_s or 0.0,
    )


def region_code(derp_map: DerpMap, region: RegionId) -> str:
    """Code of a region, its number where the map does not know it, "" for none."""
    known = derp_map.regions.get(region)
    return known.code if known is not None else str(region or "")


def _addresses(node: Node) -> tuple[str, ...]:
    return tuple(str(prefix.network_address) for prefix in node.addresses)


def _user(view: NetmapView, node: Node) -> str:
    profile = view.users.get(node.user)
    return profile.login_name if profile is not None else ""


def uplink_status(state: UplinkState) -> UplinkStatus:
    quality = state.quality
    if quality is None:
        return UplinkStatus(interface=state.interface)
    return UplinkStatus(
        interface=state.interface,
        in_use=state.in_use,
        state=quality.condition.name.lower(),
        latency_s=quality.latency_s,
        loss=quality.loss,
        rx_bytes_s=state.throughput.rx_rate,
        tx_bytes_s=state.throughput.tx_rate,
        rx_peak_bytes_s=state.throughput.rx_peak,
        tx_peak_bytes_s=state.throughput.tx_peak,
        carries_tx_bytes_s=quality.up_rate,
        carries_rx_bytes_s=quality.down_rate,
        metered=state.metered,
    )


def netcheck_report(
    report: Report,
    view: NetmapView | None,
    home: RegionId,
    finished_at: datetime,
    mapping: PortMapping = PortMapping(),  # noqa: B008  # immutable
) -> NetcheckReport:
    """A netcheck in the words of the local API. `home` is the region chosen with hysteresis, 0: none."""
    return NetcheckReport(
        udp=report.udp,
        ipv4=report.ipv4,
        ipv6=report.ipv6,
        os_has_ipv6=report.os_has_ipv6,
        icmpv4=report.icmpv4,
        global_v4=str(report.global_v4 or ""),
        global_v6=str(report.global_v6 or ""),
        mapping_varies=report.mapping_varies_by_dest_ip,
        port_mapping=", ".join(kind for kind in _KINDS_AS_TOLD if mapping.seen is not None and kind in mapping.seen),
        port_mapped=str(mapping.mapping.external) if mapping.mapping is not None else "",
        port_mapping_error=mapping.error,
        captive_portal=report.captive_portal,
        preferred_region=home,
        finished_at=finished_at,
        regions=_region_latencies(report, view.derp_map if view is not None else DerpMap()),
    )


_KINDS_AS_TOLD = (Kind.UPNP, Kind.NAT_PMP, Kind.PCP)


def _region_latencies(report: Report, derp_map: DerpMap) -> tuple[RegionLatency, ...]:
    """Every region of the map and every one that answered, the nearest first."""
    found = []
    for region_id in {**derp_map.regions, **report.region_latency}:
        region = derp_map.regions.get(region_id)
        found.append(
            RegionLatency(
                region_id=region_id,
                code=region_code(derp_map, region_id),
                name=region.name if region is not None else "",
                latency_s=report.region_latency.get(region_id),
                v4_latency_s=report.region_v4_latency.get(region_id),
                v6_latency_s=report.region_v6_latency.get(region_id),
            )
        )
    return tuple(sorted(found, key=lambda item: (item.latency_s is None, item.latency_s or 0.0, item.region_id)))


def plain_netmap(view: NetmapView) -> dict[str, Any]:
    """The netmap as JSON values, for people who look for a fault."""
    return {
        "domain": view.domain,
        "self": _plain(view.self_node),
        "peers": [_plain(node) for node in view.peers.values()],
        "users": [_plain(profile) for profile in view.users.values()],
        "derp_regions": [_plain(region) for region in view.derp_map],
        "dns": _plain(view.dns),
        "packet_filter": _plain(view.filter_rules),
        "control_messages": list(view.control_messages),
    }


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=_to_text, str_keys=True)


def _to_text(value: Any) -> Any:
    if isinstance(value, SecretKey):
        return "redacted"
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
