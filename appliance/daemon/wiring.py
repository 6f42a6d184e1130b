"""Joins the parts of `waypostd`: made in the order in which they need each other, undone in reverse.

This is the only place that knows all of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog

from appliance.api.values import RefreshKind
from appliance.c2n.settings import add_settings
from appliance.config.lines import placed
from appliance.config.schema import Config
from appliance.daemon.applier import ChangeApplier, Situation
from appliance.daemon.data_plane import Memory, ended_badly, left_by_crash, remove_left_device, start_engine
from appliance.daemon.doctor_desk import DoctorDesk
from appliance.daemon.firewall_desk import FirewallDesk
from appliance.daemon.gateway import Gateway
from appliance.daemon.history import History
from appliance.daemon.housekeeping import Housekeeper
from appliance.daemon.kernel_relays import kernel_relays, remove_left_relay
from appliance.daemon.lifecycle import Lifecycle
from appliance.daemon.links import MonitoredLinks
from appliance.daemon.mesh_desk import MeshDesk
from appliance.daemon.mesh_services import MeshServices
from appliance.daemon.netlink_thread import ThreadedNetlink
from appliance.daemon.notify import ServiceManager
from appliance.daemon.parts import Core, RuleRemoved, Service
from appliance.daemon.peer_handshakes import keep_peer_handshakes
from appliance.daemon.placement import NetworkWatch, Placement, check_placement, host_router, make_placement
from appliance.daemon.plugin_backend import PluginBackend
from appliance.daemon.plugin_desk import PluginDesk
from appliance.daemon.plugin_devices import PluginDevices
from appliance.daemon.plugin_store import PluginStore
from appliance.daemon.port_mapping import follow, make_port_mapping
from appliance.daemon.preferences import effective_tables
from appliance.daemon.remote_settings import RemoteSettingsDesk
from appliance.daemon.saved_netmap import load_netmap, netmap_document
from appliance.daemon.startup import only_one, prepare_folders
from appliance.daemon.successor import guard_outlives
from appliance.daemon.timestamps import TimestampKeeper
from appliance.daemon.uplink_desk import UplinkDesk, clean_steering
from appliance.drivers.helper import HelperClient, HelperError
from appliance.drivers.icmp import IcmpPinger
from appliance.drivers.netlink import LinuxNetlink
from appliance.drivers.plugin_launcher import AppsLauncher
from appliance.drivers.privileges import check_privileges, may_mark_sockets
from appliance.drivers.proxy import rules_from
from appliance.drivers.side_ports import LinuxSidePorts
from appliance.drivers.sockets import marking
from appliance.drivers.streams import BYPASS_MARK, SocketDialer
from appliance.health.tracker import HealthTracker
from appliance.localapi.handout import HandoutServer
from appliance.localapi.mesh_schema import handout_socket
from appliance.localapi.server import LocalApiServer, refuse_if_served
from appliance.magicsock.derp.pool import DerpClientPool
from appliance.magicsock.netcheck.captive import find_captive_portal
from appliance.magicsock.service import MagicsockService
from appliance.netmap.waiting import first_of
from appliance.pluginhost.host import PluginHost, Tables
from appliance.ports.clock import SystemClock
from appliance.ports.events import EventBus
from appliance.ports.randomness import SystemRandomness
from appliance.ports.store import StateStore
from appliance.router.service import Router
from appliance.state.files import FileStore
from appliance.state.profiles import Prefs, Profiles
from appliance.types.addresses import Address, parse_addr_port
from appliance.types.errors import ApplianceError, ConfigError, Severity, StateError
from appliance.types.events import HealthChanged
from appliance.types.netmap import DerpMap

log = structlog.get_logger("waypostd")


PREFERENCES_HEALTH = "preferences-ignored"


@dataclass
class Ending:
    """`for_good`: somebody asked for it, and no run follows that would want an exit's guard."""

    for_good: bool = False


async def run_gateway(config: Config, manager: ServiceManager, stop: asyncio.Event) -> None:
    """The whole process until `stop`; another profile starts all of it anew. Raises `ApplianceError` at a start."""
    while await run_profile(config, manager, stop):
        log.info("starting anew")


async def run_profile(config: Config, manager: ServiceManager, stop: asyncio.Event) -> bool:
    """Whether it is to be run again."""
    refuse_if_served(config.daemon.socket)
    check_placement(config)
    prepare_folders(config)
    async with AsyncExitStack() as stack:
        stack.enter_context(only_one(config.daemon.state_dir))
        store = FileStore(config.daemon.state_dir)
        situation, ending = Situation(), Ending()
        placement = make_placement(config, stack)
        core = await start_core(config, store, situation, placement, ending, stack)
        gateway, applier, keeper = join_gateway(core, store, situation, manager, stack)
        await applier.guard_early()
        firewall = FirewallDesk(lambda: situation.view, lambda: core.router.model)
        mesh = MeshDesk(lambda: situation.view, core.sockets, lambda: situation.prefs.shields_up)
        handout = HandoutServer(mesh, handout_socket(config.daemon.socket), gateway.operator_uid)
        handout.start()
        stack.callback(handout.close)
        doctor = DoctorDesk(core, situation, applier, lambda: gateway.status(peers=False))
        server = LocalApiServer(gateway, config.daemon.socket, PluginDesk(applier.plugins), firewall, mesh, doctor)
        await server.start()
        stack.push_async_callback(server.stop)
        ports = [str(port) for port in core.engine.local_ports()]
        log.info("started", interface=core.engine.interface, form=core.engine_form, ports=ports)
        watch = NetworkWatch(placement.network)
        with watch.telling():
            again = await serve(core, gateway, [applier, keeper, handout, watch, *core.services], manager, stop)
        if not again:
            manager.stopping()
            ending.for_good = not await guard_outlives()
    log.info("stopped")
    return again


async def start_core(
    config: Config,
    store: StateStore,
    situation: Situation,
    placement: Placement,
    ending: Ending,
    stack: AsyncExitStack,
) -> Core:
    """Everything below the state machine, started; `stack` undoes it."""
    clock, randomness, bus = SystemClock(), SystemRandomness(), EventBus(on_error=_report)
    health = HealthTracker(bus, clock)
    bus.subscribe(HealthChanged, health.observe)
    profiles = Profiles(store, randomness)
    profile = profiles.current()
    timestamps = TimestampKeeper(profile.handshakes, clock, _report_state_error(health))
    peer_handshakes = keep_peer_handshakes(store, profile, clock, _report_state_error(health))
    saved = load_netmap(netmap_document(store, profile.folder))
    router = placement.make_router(bus)
    memory = Memory(timestamps.load(), peer_handshakes.load(), saved is not None)
    setting = await router.device_setting()
    started = await start_engine(config.tunnel, placement, memory, clock, randomness)
    engine = started.engine
    stack.push_async_callback(engine.close)
    if started.adopted:
        # The kernel goes on forwarding: the first netmap makes the rest what it should be, the end removes it all.
        router.adopt()
        stack.push_async_callback(clean_up, router, config.tunnel.interface)
    else:
        # Not before device and port are ours: what is there could belong to a gateway that runs.
        await clean_up(router, config.tunnel.interface)
    await router.note_device(setting)
    stack.push_async_exit(partial(_close_router, router, ending))
    if not placement.rootless:
        remove_left_relay()
    links = MonitoredLinks(
        placement.host,
        engine.interface,
        bus.publish,
        lambda: bus.publish(RuleRemoved()),
        lambda: own_addresses(situation),
    )
    await links.start()
    stack.callback(links.close)
    dialer = SocketDialer(proxies=rules_from(config.control.proxy, os.environ))
    direct = SocketDialer()  # a proxy's answer would say nothing about the network here
    ca_file = (profile.prefs.load() or Prefs()).ca_file or config.control.ca_file
    side = LinuxSidePorts(BYPASS_MARK if may_mark_sockets() else 0)
    stack.callback(side.close_all)
    magicsock = MagicsockService(
        engine,
        lambda sink: DerpClientPool(dialer, clock, randomness, sink, ca_file=ca_file),
        clock,
        randomness,
        bus,
        links.endpoint_addresses,
        captive_finder=lambda probes: find_captive_portal(direct, clock, probes),
        echo=IcmpPinger(clock, randomness, marking(BYPASS_MARK if may_mark_sockets() else 0)),
        disco_key=saved.disco_key if saved is not None else None,
        side=side,
        hard_nat_sockets=config.paths.hard_nat_sockets,
    )
    magicsock.set_static_endpoints([parse_addr_port(text) for text in config.paths.static_endpoints])
    magicsock.set_fixed_port(config.tunnel.port != 0)
    await magicsock.start()
    stack.push_async_callback(magicsock.close)
    uplinks = UplinkDesk(
        config.paths, links, placement.host, clock, randomness, bus, health, lambda: derp_map_of(situation)
    )
    if not placement.rootless:
        await clean_steering(placement.host)
    uplinks.follow()
    stack.push_async_callback(uplinks.close)
    port_mapping = make_port_mapping(config.paths.port_mapping, links, engine, magicsock, clock, randomness)
    follow(bus, port_mapping)
    stack.push_async_callback(port_mapping.close)
    return Core(
        config=config,
        clock=clock,
        randomness=randomness,
        bus=bus,
        health=health,
        profiles=profiles,
        profile=profile,
        timestamps=timestamps,
        peer_handshakes=peer_handshakes,
        engine_reason=started.reason,
        links=links,
        engine=engine,
        engine_form=started.form,
        port_mapping=port_mapping,
        uplinks=uplinks.states,
        services=(port_mapping, uplinks),
        magicsock=magicsock,
        router=router,
        dialer=dialer,
        rootless=placement.rootless,
        sockets=placement.sockets,
        open_udp=placement.open_udp,
        open_device=placement.open_tun,
    )


def join_gateway(
    core: Core, store: StateStore, situation: Situation, manager: ServiceManager, stack: AsyncExitStack
) -> tuple[Gateway, ChangeApplier, Housekeeper]:
    """Plugins, applier and state machine over a started core. Raises `ConfigError` and `StateError`."""
    prefs = core.profile.prefs.load() or Prefs()
    plugin_store = PluginStore(store, core.profile.folder, core.clock, lambda error: core.health.set_error(error))
    helper = None if core.rootless else HelperClient(core.config.daemon.helper_socket)
    devices = PluginDevices(core.open_device, core.engine.interface)
    backend = PluginBackend(
        core.clock,
        core.randomness,
        core.health,
        core.links,
        plugin_store,
        situation,
        core.sockets,
        helper,
        core.engine.interface,
        devices,
    )
    plugins = load_plugins(core, backend, prefs)
    history = History(core.bus, core.clock)
    mesh = MeshServices(core, situation)
    mesh.plugin_metrics = plugins.hooks.metrics
    mesh.offers_names = lambda: offers_names(plugins)
    mesh.exit_resolvers = lambda: exit_resolvers(plugins)
    mesh.learned_domains = lambda: learned_domains(plugins)
    stack.push_async_callback(mesh.close)
    applier = ChangeApplier(core, plugins, situation, mesh, lambda: gateway.refresh_hostinfo(), lambda: devices.devices)
    backend.refresh = applier.refresh
    backend.open_underlay = core.open_udp
    backend.read_shapes = core.router.shape_traffic
    backend.tunnel_mtu = core.config.tunnel.mtu
    devices.changed = lambda: applier.refresh(RefreshKind.ROUTER)
    backend.open_kernel_relay = kernel_relays(helper)
    lifecycle = Lifecycle(core, store, lambda former: gateway.put_back(former))
    gateway = Gateway(core, plugins, applier, situation, history, lifecycle, prefs, core.profile.keys.load())
    gateway.subscribe_to_bus()
    add_settings(mesh.c2n, RemoteSettingsDesk(gateway, allowed=core.config.control.remote_settings))
    backend.gateway = gateway
    backend.wake_host = mesh.waker.wake
    backend.run_command = plugins.run_command
    backend.exit_in_use = lambda: plugins.hooks.contribute_hostinfo().exit_node
    backend.egress_guard = lambda: plugins.hooks.contribute_firewall().guard
    backend.examination = DoctorDesk(core, situation, applier, lambda: gateway.status(peers=False)).examine
    backend.all_panels = plugins.panels
    backend.fields_of = plugins.setting_fields
    history.subscribe(lambda line: backend.feed.note(line.kind))
    keeper = Housekeeper(core, gateway, applier, plugin_store, lifecycle, manager)
    stack.push_async_callback(keeper.finish)
    stack.push_async_callback(plugins.stop)
    plugins.start()
    return gateway, applier, keeper


def offers_names(plugins: PluginHost) -> bool:
    """Peers look names up at exits and app connectors (apps spec 1.5)."""
    is_exit = any(route.endswith("/0") for route in plugins.hooks.contribute_routes())
    return is_exit or plugins.hooks.contribute_hostinfo().flags.get("AppConnector", False)


def exit_resolvers(plugins: PluginHost) -> tuple[str, ...] | None:
    """None: those who use this exit go on by the host's own routes, and its resolver is asked."""
    uplink = plugins.hooks.contribute_firewall().uplink
    return uplink.resolvers if uplink is not None else None


async def learned_domains(plugins: PluginHost) -> dict[str, list[str]]:
    """Addresses by the name that the app connector learned them for; none while it is off."""
    try:
        reply = await plugins.run_command("app_connector", "routes", ())
        return msgspec.convert(msgspec.json.decode(reply.text)["domains"], dict[str, list[str]])
    except (ApplianceError, msgspec.MsgspecError, KeyError):
        return {}


def load_plugins(core: Core, backend: PluginBackend, prefs: Prefs) -> PluginHost:
    """Plugins with file and preferences; preferences that no longer fit (an update, a plugin gone) lock nobody out."""
    try:
        plugins = make_plugin_host(core, backend, effective_tables(core.config.plugins, prefs))
        plugins.load()
    except ConfigError as error:
        plugins = make_plugin_host(core, backend, core.config.plugins)
        try:
            plugins.load()
        except ConfigError as wrong:
            raise placed(wrong, core.config.places) from None
        mend = "correct it with: waypost set"
        core.health.set(PREFERENCES_HEALTH, f"plugin preferences are ignored: {error.text}", mend=mend)
    return plugins


def make_plugin_host(core: Core, backend: PluginBackend, tables: Tables) -> PluginHost:
    return PluginHost(backend, tables, launcher=AppsLauncher(core.config.daemon.apps_socket))


async def serve(
    core: Core,
    gateway: Gateway,
    services: Sequence[Service],
    manager: ServiceManager,
    stop: asyncio.Event,
) -> bool:
    """Run until `stop`, or until the gateway wants to be started anew: then True."""
    async with asyncio.TaskGroup() as group:
        rest = [group.create_task(work.run(), name=type(work).__name__) for work in (core.links, *services)]
        main = group.create_task(gateway.run(), name="Gateway")
        manager.ready()
        await first_of(stop.wait(), gateway.restart_wanted.wait())
        gateway.stop()
        await main
        for task in rest:
            task.cancel()
    return not stop.is_set()


async def clean_up(router: Router, interface: str, *, guard: bool = False) -> None:
    """Remove what a crashed run left on the host; an exit's guard only where `guard` says so."""
    cleaned = await router.clean_stale(interface, guard=guard)
    if cleaned:
        log.info("removed what a run before left", items=cleaned)


async def clean_up_only(config: Config) -> None:
    """`waypostd --clean-up`. Raises `ApplianceError`. An exit's guard outlives a crash, for a start will follow, and a
    restart."""
    refuse_if_served(config.daemon.socket)
    with suppress(HelperError):  # without a helper nothing was set; nobody answers names now, whatever forwards
        await HelperClient(config.daemon.helper_socket).set_resolver(())
    if left_by_crash(config.tunnel):
        log.info("left for the next start: the kernel goes on forwarding", interface=config.tunnel.interface)
        return
    check_privileges(need_tun=False)
    remove_left_relay()
    if remove_left_device(config.tunnel):
        log.info("removed what a run before left", items=[config.tunnel.interface])
    netlink = ThreadedNetlink(LinuxNetlink())
    try:
        opens = not (ended_badly() or await guard_outlives())
        await clean_up(host_router(config, netlink, EventBus()), config.tunnel.interface, guard=opens)
        await clean_steering(netlink)
    finally:
        await netlink.close()


def derp_map_of(situation: Situation) -> DerpMap:
    return situation.view.derp_map if situation.view is not None else DerpMap()


def own_addresses(situation: Situation) -> Collection[Address]:
    node = situation.view.self_node if situation.view is not None else None
    return [prefix.network_address for prefix in node.addresses] if node is not None else []


def _report_state_error(health: HealthTracker) -> Callable[[StateError], None]:
    return lambda error: health.set_error(error)


async def _close_router(router: Router, ending: Ending, kind: type[BaseException] | None, *_: object) -> None:
    """A failure is no end that anybody asked for: what keeps traffic in the tunnel stays."""
    try:
        await router.close(guard=ending.for_good and kind is None)
    except ApplianceError as error:
        log.error("not everything was removed from the host", error=error.text, mend=error.mend)


def _report(event: object, error: BaseException) -> None:
    log.error("a subscriber failed", event_type=type(event).__name__, exc_info=error, severity=str(Severity.HIGH))
