"""What this node answers inside its mesh: the peer API, TSMP, control's requests. Joined here, each lives elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from appliance.api.values import Metric
from appliance.c2n.routes import node_routes
from appliance.c2n.table import C2nTable
from appliance.c2n.wake import add_wake as add_control_wake
from appliance.daemon.hostinfo import VERSION
from appliance.daemon.peer_pings import PeerPinger
from appliance.daemon.refusals import RefusalDesk
from appliance.daemon.status import plain_netmap
from appliance.daemon.tsmp import TsmpService
from appliance.daemon.wake_desk import WakeDesk
from appliance.drivers.icmp import IcmpPinger
from appliance.drivers.listeners import open_listener
from appliance.drivers.streams import SocketDialer
from appliance.metrics.exposition import Sample, exposition
from appliance.netmap.store import NetmapView
from appliance.peerapi.caller import Caller, identify
from appliance.peerapi.names import add_names, onward_resolver, resolver_of
from appliance.peerapi.pages import add_pages
from appliance.peerapi.routes import PeerRoutes
from appliance.peerapi.server import PeerApiServer
from appliance.peerapi.wake import add_wake
from appliance.proto.control import messages as wire
from appliance.proto.peerapi import PROTO
from appliance.router.model import MARK_EXIT
from appliance.types.addresses import AddrPort, is_single
from appliance.types.netmap import Node

if TYPE_CHECKING:
    from appliance.daemon.applier import Situation
    from appliance.daemon.parts import Core

PEERAPI_HEALTH = "peerapi"


class MeshServices:
    """`peer_routes` and `c2n` are where features add their handlers."""

    def __init__(self, core: Core, situation: Situation) -> None:
        self._core = core
        self._situation = situation
        self.peer_routes = PeerRoutes()
        self._server = PeerApiServer(
            self.peer_routes,
            self._identify,
            lambda address, port: open_listener(address, port, early=True, sockets=core.sockets),
        )
        self._tsmp = TsmpService(
            core.engine,
            lambda: situation.view,
            lambda: core.magicsock.disco_public_key,
            core.magicsock.learn_disco_key,
            self._server.port,
            core.clock,
            core.randomness,
            core.bus.publish,
        )
        self.refusals = RefusalDesk(
            core.engine,
            core.router.can_log,
            lambda: situation.view,
            lambda: situation.prefs.shields_up,
            lambda group: core.refused(group, core.sockets),
        )
        self.pinger = PeerPinger(
            core.magicsock,
            self._tsmp,
            SocketDialer(mark=0, sockets=core.sockets),
            IcmpPinger(core.clock, core.randomness, core.sockets),
            lambda: situation.view,
            core.clock,
        )
        overlay = SocketDialer(mark=0, sockets=core.sockets)
        self.waker = WakeDesk(core.links.lans, lambda: situation.view, overlay, core.clock)
        self.c2n: C2nTable = node_routes(self)
        self.plugin_metrics: Callable[[], Collection[Metric]] = tuple
        """Given once the plugins are there."""
        self.learned_domains: Callable[[], Awaitable[dict[str, list[str]]]] = _no_domains
        """Of the app connector; given once the plugins are there."""
        self.offers_names: Callable[[], bool] = lambda: False
        """Whether peers may have names looked up here; given once the plugins are there."""
        add_pages(self.peer_routes, version=VERSION, metrics=self.metrics)
        self.exit_resolvers: Callable[[], Sequence[str] | None] = lambda: None
        """Who looks names up beyond an uplink of this exit's own, None: it has none; given once plugins are there."""
        onward = SocketDialer(mark=MARK_EXIT, sockets=core.sockets)
        lookup = onward_resolver(resolver_of(overlay), lambda: self.exit_resolvers(), onward)
        add_names(self.peer_routes, lookup, lambda: self.offers_names(), self._filtered)
        add_wake(self.peer_routes, self.waker.here)
        add_control_wake(self.c2n, self.waker.here)

    # the peer API

    @property
    def peerapi(self) -> tuple[AddrPort, ...]:
        """Where it listens; the packet filter lets peers through to it."""
        return self._server.endpoints

    def services(self) -> list[wire.Service]:
        """For `Hostinfo.Services`."""
        return [wire.Service(proto=PROTO[6 if item.is_v6 else 4], port=item.port) for item in self.peerapi]

    async def listen(self, own: Node | None) -> bool:
        """Listen on the addresses of our own node, None: nowhere. Whether anything changed that peers must know."""
        await self.refusals.start()
        before = self.peerapi
        prefixes = own.addresses if own is not None else ()
        failed = await self._server.listen([prefix.network_address for prefix in prefixes if is_single(prefix)])
        if failed:
            text = f"the peer API cannot listen on {', '.join(map(str, failed))}"
            self._core.health.set(PEERAPI_HEALTH, text, mend="see the log of waypostd")
        else:
            self._core.health.clear(PEERAPI_HEALTH)
        return self.peerapi != before

    async def close(self) -> None:
        self.refusals.close()
        await self._server.close()

    def _filtered(self) -> Collection[str]:
        view = self._situation.view
        return view.dns.exit_filtered if view is not None else ()

    def _identify(self, source: AddrPort) -> Caller | None:
        return identify(self._situation.view, source, shields_up=self._situation.prefs.shields_up)

    # NodeFacts

    async def app_domains(self) -> dict[str, list[str]]:
        return await self.learned_domains()

    def netmap(self) -> dict[str, Any]:
        view: NetmapView | None = self._situation.view
        return plain_netmap(view) if view is not None else {}

    def prefs(self) -> dict[str, Any]:
        prefs = self._situation.prefs
        return {name: getattr(prefs, name) for name in prefs.__struct_fields__}

    def health(self) -> list[dict[str, Any]]:
        items = self._core.health.items()
        return [{"code": item.code, "text": item.text, "mend": item.mend, "since": item.since} for item in items]

    def counters(self) -> dict[str, int]:
        found: dict[str, int] = {}
        parts: Collection[tuple[str, Mapping[str, int]]] = (
            ("engine", self._core.engine.counters()),
            ("path", self._core.magicsock.counters()),
            ("path", self._core.port_mapping.counters() if self._core.port_mapping is not None else {}),
            ("peerapi", self._server.counters),
            ("mesh", self._tsmp.counters),
            ("filter", self.refusals.counters),
        )
        for part, counters in parts:
            found.update({f"{part}_{name}": value for name, value in counters.items()})
        return found

    def metrics(self) -> str:
        statistics = self._core.engine.statistics().values()
        view = self._situation.view
        samples = [Sample(f"{name}_total", value, kind="counter") for name, value in self.counters().items()]
        samples += [
            Sample("peers", len(view.peers) if view is not None else 0, "Peers in the netmap."),
            Sample("health_items", len(self._core.health.items()), "What is wrong now."),
            Sample("transmitted_bytes_total", sum(item.tx_bytes for item in statistics), kind="counter"),
            Sample("received_bytes_total", sum(item.rx_bytes for item in statistics), kind="counter"),
        ]
        samples += [
            Sample(each.name, each.value, each.help, str(each.kind), each.labels) for each in self.plugin_metrics()
        ]
        return exposition(samples)


async def _no_domains() -> dict[str, list[str]]:
    return {}
