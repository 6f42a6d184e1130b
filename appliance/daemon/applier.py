"""Carries every change to those whom it concerns, one after the other: engine, path finding, plugins, routes, filter.

Changes are queued by synchronous calls and applied by `run`; what came meanwhile is applied together. Each receiver
gets what changed and nothing else (design.md 4).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING

import structlog

from appliance.api.values import AttachedPrefix, FirewallPart, NetmapChange, RefreshKind, RouteSelection
from appliance.daemon.overlay import OverlayPeers, routing_changed
from appliance.daemon.parts import Core
from appliance.daemon.path_probes import ProbeDesk
from appliance.daemon.relay_desk import RelayDesk
from appliance.netmap.store import NetmapView
from appliance.pluginhost import snapshots
from appliance.pluginhost.host import PluginHost
from appliance.ports.engine import EngineDiff
from appliance.router.model import ExitUplink, ForeignMode, Guard, RouterModel, Shape, SideDevice, Split
from appliance.router.routes import gives_way
from appliance.state.profiles import Prefs
from appliance.types.addresses import CGNAT_V4, ULA_V6, Prefix, known_prefix, ordered
from appliance.types.errors import ApplianceError, Severity
from appliance.types.ids import StableNodeId
from appliance.types.keys import NodePrivateKey
from appliance.types.netmap import DerpMap, NetmapDiff
from appliance.types.senders import parse_senders

if TYPE_CHECKING:
    from appliance.daemon.mesh_services import MeshServices

log = structlog.get_logger("applier")

RETRY_S = 5.0
ROOTLESS_ROUTES = "rootless-routes"
_NO_CGNAT_DROP = "disable-linux-cgnat-drop-rule"


@dataclass
class Situation:
    """What the applier reads besides the queue: the live netmap and the preferences. None: not logged in or down."""

    view: NetmapView | None = None
    prefs: Prefs = field(default_factory=Prefs)


class ChangeApplier:
    def __init__(
        self,
        core: Core,
        plugins: PluginHost,
        situation: Situation,
        mesh: MeshServices,
        on_hostinfo: Callable[[], None],
        devices: Callable[[], tuple[SideDevice, ...]] = tuple,
    ) -> None:
        self._core = core
        self.mesh = mesh
        self._plugins = plugins
        self._situation = situation
        self._on_hostinfo = on_hostinfo
        self._devices = devices
        self._overlay = OverlayPeers(core.magicsock.disco_key_of)
        self._relays = RelayDesk(core.magicsock, situation, plugins.hooks.relay_request)
        self._probes = ProbeDesk(core.magicsock, core.config.paths)
        self._diffs: deque[NetmapDiff] = deque()
        self._refresh: set[RefreshKind] = set()
        self._repairs: set[bool] = set()
        self._key: NodePrivateKey | None = None
        self._used_key: NodePrivateKey | None = None
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._selection = RouteSelection()
        self._retry_at: float | None = None
        self._applied: RouterModel | None = None
        self.configured = False
        """The host stands as the first netmap of this run wants it."""

    # --- queueing

    def netmap_changed(self, diff: NetmapDiff) -> None:
        self._diffs.append(diff)
        self._wake.set()

    def refresh(self, kind: RefreshKind) -> None:
        """Ask the plugins' contributions of that kind anew."""
        self._refresh.add(kind)
        self._wake.set()

    def repair(self, *, soon: bool = False) -> None:
        """Put back what others removed from the host; `soon`: after a short rest, and not endlessly."""
        self._repairs.add(soon)
        self._wake.set()

    def set_private_key(self, key: NodePrivateKey) -> None:
        """The node key that control has accepted."""
        self._key = key
        self._wake.set()

    # --- what others see

    @property
    def selection(self) -> RouteSelection:
        """The last verdict on the peers' routes."""
        return self._selection

    @property
    def plugins(self) -> PluginHost:
        """Whom it asks for contributions."""
        return self._plugins

    @property
    def is_idle(self) -> bool:
        return not self._wake.is_set() and not self._lock.locked()

    # --- applying

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._core.router.run())
            while True:
                await self._wake.wait()
                await self.settle()

    async def settle(self) -> None:
        """Apply everything that waits."""
        async with self._lock:
            while self._wake.is_set():
                self._wake.clear()
                await self._apply_waiting()

    def poll(self) -> None:
        """Try again what the host refused, and put back what others flushed; called about once a second."""
        if not self._core.router.stands():
            log.warning("another program removed the packet filter: it is put back")
            self.repair()
        if self._retry_at is not None and self._core.clock.now() >= self._retry_at:
            self._retry_at = None
            self.refresh(RefreshKind.ROUTER)

    async def clear(self) -> None:
        """Take the node off the mesh: no peers, no relays, nothing on the host."""
        async with self._lock:
            self._diffs.clear()
            self._refresh.clear()
            self._wake.clear()
            self.configured = False
            self._key = self._used_key = None
            self._applied = None
            self._retry_at = None
            self._overlay = OverlayPeers(self._core.magicsock.disco_key_of)
            self._selection = RouteSelection()
            await self._core.engine.apply(EngineDiff(replace=True))
            self._core.magicsock.apply(NetmapDiff(full=True))
            self._relays.clear()
            self._probes.apply(None)
            self._core.magicsock.set_derp_map(DerpMap())
            self._core.magicsock.set_private_key(None)
            self._plugins.netmap_changed(NetmapChange(full=True))
            await self._core.router.close()
            await self.mesh.listen(None)
            self._plugins.refresh_health()

    async def _apply_waiting(self) -> None:
        routing = RefreshKind.ROUTER in self._refresh
        hostinfo = RefreshKind.HOSTINFO in self._refresh
        health = bool(self._refresh) or bool(self._diffs)
        self._refresh.clear()
        if self._key is not None and self._key != self._used_key:
            key = self._used_key = self._key
            await self._core.engine.apply(EngineDiff(private_key=key))
            self._core.magicsock.set_private_key(key)
        while self._diffs:
            routing |= await self._apply_diff(self._diffs.popleft())
        if routing:
            await self._apply_routing()
        if self._repairs:
            await self._repair()
        if hostinfo:
            self._on_hostinfo()
        if health:
            self._plugins.refresh_health()

    async def _apply_diff(self, diff: NetmapDiff) -> bool:
        """Whether routes or filter must be looked at."""
        view = self._situation.view
        if view is None:
            return False
        if diff.derp_map_changed or diff.full:
            self._core.magicsock.set_derp_map(view.derp_map)
        await self._core.engine.apply(self._overlay.apply(diff))
        self._core.magicsock.apply(diff, view.self_node if diff.self_changed or diff.full else None)
        self._relays.apply(diff)
        if diff.full or diff.self_changed:
            self._probes.apply(view.self_node)
        self._plugins.netmap_changed(snapshots.change(diff, view.self_node, view.users, view.dns))
        return routing_changed(diff)

    async def _apply_routing(self) -> None:
        view = self._situation.view
        if view is None or view.self_node is None:
            await self._guard_only()
            return
        self._selection = self._plugins.hooks.accept_routes(self._overlay.offered(), self.attached())
        engine_diff = self._overlay.accept(self._selection)
        if engine_diff.upsert:
            await self._core.engine.apply(engine_diff)
        if await self.mesh.listen(view.self_node):
            self._on_hostinfo()
        model = self._model(view)
        self._check_rootless(model)
        if model == self._applied:
            return
        try:
            await self._core.router.apply(model)
        except ApplianceError as error:
            self._refused(error)
            return
        self._core.health.clear("router")
        self._applied = model
        self.configured = True

    def _check_rootless(self, model: RouterModel) -> None:
        if self._core.rootless and model.advertised:
            text = "routes are advertised, but a rootless gateway reaches no network of its host"
            mend = "run waypostd as root, or take them back: waypost set --advertise-routes="
            self._core.health.set(ROOTLESS_ROUTES, text, mend=mend)
        else:
            self._core.health.clear(ROOTLESS_ROUTES)

    async def _repair(self) -> None:
        soon = self._repairs == {True}
        self._repairs.clear()
        try:
            await (self._core.router.repair_soon() if soon else self._core.router.repair())
        except ApplianceError as error:
            self._refused(error)

    def _refused(self, error: ApplianceError) -> None:
        log.warning("host refused the network state", error=error.text)
        self._core.health.set("router", error.text, mend=error.mend, severity=Severity.HIGH)
        self._applied = None
        self._retry_at = self._core.clock.now() + RETRY_S

    def attached(self) -> tuple[AttachedPrefix, ...]:
        """The host's own prefixes, for plugins."""
        return tuple(AttachedPrefix(lan.prefix, lan.interface, lan.address, lan.up) for lan in self._core.links.lans())

    def _model(self, view: NetmapView) -> RouterModel:
        node = view.self_node
        assert node is not None
        firewall = self._plugins.hooks.contribute_firewall()
        config = self._core.config
        return RouterModel(
            interface=self._core.engine.interface,
            mtu=config.tunnel.mtu,
            addresses=node.addresses,
            routes=self._overlay.routes(),
            local_routes=tuple(ip_network(text) for text in self._selection.throws),
            own_first=frozenset(map(known_prefix, self._selection.own_first)),
            advertised=tuple(ip_network(text) for text in firewall.forwarded),
            host_addresses=tuple(
                ip_interface(f"{lan.address}/{lan.prefix.rpartition('/')[2]}") for lan in self._core.links.lans()
            ),
            rules=view.filter_rules,
            cap_sources={name: self._overlay.holders(name) for name in view.filter_capabilities},
            jailed=self._overlay.jailed(),
            sources=self._overlay.sources(),
            peerapi=self.mesh.peerapi,
            shields_up=self._situation.prefs.shields_up,
            snat=firewall.snat is not False,
            service_addresses=tuple(ip_address(text) for text in firewall.service_addresses),
            drop_cgnat=_NO_CGNAT_DROP not in node.cap_map,
            wireguard_port=next((port.port for port in self._core.engine.local_ports()), 0),
            inner_port=self._core.engine.inner_port,
            log_group=self.mesh.refusals.group,
            foreign=ForeignMode(config.router.foreign),
            guard=self._guard(firewall),
            devices=self._devices(),
            translations=tuple((ip_network(each.inside), ip_network(each.outside)) for each in firewall.translations),
            shapes=tuple(
                Shape(tuple(map(ip_network, each.destinations)), each.rate_kbit, each.name) for each in firewall.shapes
            ),
            exit_uplink=self._exit_uplink(firewall),
        )

    def _guard(self, firewall: FirewallPart) -> Guard | None:
        if firewall.guard is None:
            return None
        split = Split(parse_senders(firewall.guard.hosts), parse_senders(firewall.guard.not_hosts))
        return Guard(
            near=self._near(firewall),
            inside=self._inside(),
            lan_access=firewall.guard.lan_access,
            site=firewall.guard.site,
            direct=ordered(map(ip_network, firewall.guard.direct)),
            split=split if split.hosts or split.not_hosts else None,
            gateway_direct=firewall.guard.gateway_direct,
        )

    def _exit_uplink(self, firewall: FirewallPart) -> ExitUplink | None:
        uplink = firewall.uplink
        if uplink is None:
            return None
        there = [lan for lan in self._core.links.lans() if lan.interface == uplink.interface]
        return ExitUplink(
            uplink.interface,
            addresses=tuple(ip_network(lan.address) for lan in there),
            versions=frozenset(ip_network(lan.prefix).version for lan in there if lan.up),
            port=uplink.port,
            udp_port=uplink.udp_port,
            site=(*self._near(firewall), *self._inside()),
        )

    def _near(self, firewall: FirewallPart) -> tuple[Prefix, ...]:
        """Attached networks and those that this host serves."""
        near = [ip_network(lan.prefix) for lan in self._core.links.lans()]
        return ordered([*near, *(prefix for prefix in map(ip_network, firewall.forwarded) if prefix.prefixlen)])

    def _inside(self) -> tuple[Prefix, ...]:
        """The mesh, and what is reached through it."""
        return ordered((CGNAT_V4, ULA_V6, *(prefix for prefix in self._overlay.accepted if prefix.prefixlen)))

    async def _guard_only(self) -> None:
        """Without a netmap an exit can still be given up, or asked for."""
        try:
            await self.guard_early()
        except ApplianceError as error:
            self._refused(error)

    async def guard_early(self) -> None:
        """Before there is a netmap: nothing leaves past an exit that the settings name. Raises `ApplianceError`."""
        wanted = self._situation.prefs.want_running
        firewall = self._plugins.hooks.contribute_firewall() if wanted else FirewallPart()
        guard, uplink = self._guard(firewall), self._exit_uplink(firewall)
        model = RouterModel(interface=self._core.engine.interface, guard=guard, exit_uplink=uplink)
        await self._core.router.guard(model)

    def serves(self, stable_id: StableNodeId, prefix: Prefix) -> bool:
        """Whether that peer, not another one, is used for an installed route."""
        return self._overlay.serves(stable_id, prefix)

    def is_installed(self, prefix: Prefix) -> bool:
        return prefix in self._overlay.accepted

    def stands_behind(self, prefix: Prefix) -> bool:
        """Whether the host's own routes go before an installed one now."""
        model = self._core.router.model
        return model is not None and gives_way(model, prefix)
