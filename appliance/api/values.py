"""Value types of the plugin API: frozen, built from plain types only, so that each survives a trip through JSON.

Addresses and prefixes are text in their normal form ("192.168.1.0/24"), parsed with `appliance.types.addresses`. A test
holds that every type here equals itself after `msgspec.json` encoding and decoding: the same values cross a process
border when a plugin runs in `waypost-apps`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from appliance.types.errors import Severity
from appliance.types.events import BackendState, PathKind

API_VERSION = 1
"""Version of the plugin API. Grows when something is removed or changes its meaning; additions do not count."""

JsonValue = str | int | float | bool | None | list[Any] | dict[str, Any]


class Placement(StrEnum):
    """The process in which a plugin runs."""

    INLINE = "inline"
    APPS = "apps"


class RefreshKind(StrEnum):
    """Which contributions the core asks for anew."""

    ROUTER = "router"
    """Accepted routes, firewall and NAT."""
    HOSTINFO = "hostinfo"
    """Hostinfo and advertised routes."""
    STATUS = "status"
    """Health checks and panels."""


class Right(StrEnum):
    """What a plugin asks for in its manifest beyond its own affairs; the handle refuses what was not asked for."""

    LISTEN = "listen"
    """Listeners on the host's and the tailnet's addresses."""
    STATUS = "status"
    """The whole gateway's status, every plugin's panel, changes."""
    ACT = "act"
    """Press the buttons of other plugins' panels."""
    UNDERLAY = "underlay"
    """UDP ports outside the tunnel; for plugins inside `waypostd` only."""


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


# --- netmap ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """This node or a peer. `routes`: what it routes beyond its own addresses; for this node: its approved routes.

    `name` is the FQDN without its trailing dot; `online` None means unknown; `capabilities` are capability names.
    """

    stable_id: str
    name: str
    addresses: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    online: bool | None = None
    tags: tuple[str, ...] = ()
    user: str = ""
    os: str = ""
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NetmapSnapshot:
    """All that this node sees. As large as the mesh: ask for it rarely, follow `NetmapChange` instead."""

    self_node: NodeInfo | None = None
    peers: tuple[NodeInfo, ...] = ()
    domain: str = ""


@dataclass(frozen=True, slots=True)
class NetmapChange:
    """What one netmap update changed. `full`: forget all peers known before, `changed` holds every one there is.

    `self_node` is None when this node did not change; `removed` are stable ids.
    """

    full: bool = False
    self_node: NodeInfo | None = None
    changed: tuple[NodeInfo, ...] = ()
    removed: tuple[str, ...] = ()


# --- peer relay -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RelayRequest:
    """Peer `stable_id`, whom the policy lets use this node as a relay, wants two clients joined.

    `clients` are the disco keys ("discokey:…") of both, the peer's own among them.
    """

    stable_id: str
    clients: tuple[str, str]


@dataclass(frozen=True, slots=True)
class RelayOffer:
    """Where and under which number the two clients of a request can meet.

    `server` is the relay's disco key; `addresses` are "ip:port", at least one; lifetimes are seconds.
    """

    server: str
    lamport_id: int
    vni: int
    bind_lifetime_s: float
    steady_lifetime_s: float
    addresses: tuple[str, ...]


# --- routes and firewall --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AttachedPrefix:
    """A prefix that one of the host's own interfaces is in. `address` is the host's address there."""

    prefix: str
    interface: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class OfferedRoute:
    """A prefix, other than node addresses, that peer `stable_id` routes."""

    prefix: str
    stable_id: str


@dataclass(frozen=True, slots=True)
class RefusedRoute:
    """A prefix that must not be installed; `reason` is one clause for people."""

    prefix: str
    reason: str


@dataclass(frozen=True, slots=True)
class RouteSelection:
    """Verdict on offered routes. `throws`: attached prefixes inside accepted ones; they keep the host's own routes."""

    accepted: tuple[str, ...] = ()
    refused: tuple[RefusedRoute, ...] = ()
    throws: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FirewallPart:
    """Wishes toward firewall and NAT.

    `forwarded`: prefixes toward which overlay traffic is forwarded. `snat`: whether that traffic leaves with the
    gateway's own address; None: no opinion.
    """

    forwarded: tuple[str, ...] = ()
    snat: bool | None = None


# --- hostinfo -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HostinfoService:
    """A service to be shown to peers; `proto`: tcp, udp, peerapi4, peerapi6 or peerapi-dns-proxy."""

    proto: str
    port: int
    description: str = ""


@dataclass(frozen=True, slots=True)
class HostinfoPart:
    """Additions to this node's Hostinfo. `flags` are its boolean fields by wire name ("PeerRelay")."""

    services: tuple[HostinfoService, ...] = ()
    ssh_host_keys: tuple[str, ...] = ()
    flags: dict[str, bool] = field(default_factory=dict)


# --- status ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HealthItem:
    """Something is wrong. `code` is stable and unique within the plugin; `mend` says what the reader should do."""

    code: str
    text: str
    mend: str = ""
    severity: Severity = Severity.MEDIUM


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the core knows of the host. `None` means that it could not be found out."""

    forwarding_v4: bool | None = None
    forwarding_v6: bool | None = None
    connected: bool = False
    """A netmap has come from control."""


@dataclass(frozen=True, slots=True)
class PanelRow:
    label: str
    value: str
    detail: str = ""
    bad: bool = False


@dataclass(frozen=True, slots=True)
class PanelAction:
    """A button. `settings` are the plugin's settings that pressing it sets."""

    label: str
    settings: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Panel:
    """One section of the status page and of `waypost status --verbose`."""

    title: str
    health: tuple[HealthItem, ...] = ()
    rows: tuple[PanelRow, ...] = ()
    actions: tuple[PanelAction, ...] = ()


class MetricKind(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class Metric:
    """One sample. `name` has the prefix `waypost_`."""

    name: str
    value: float
    help: str
    kind: MetricKind = MetricKind.GAUGE
    labels: dict[str, str] = field(default_factory=dict)


# --- commands -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandReply:
    """What `waypost plugins run` prints. `ok` False: the command failed, and `text` says why and what to do."""

    text: str
    ok: bool = True


# --- listeners ------------------------------------------------------------------------------------------------------


class ListenScope(StrEnum):
    TAILNET = "tailnet"
    """An overlay address of this node; what reaches it passes the packet filter."""
    LOCAL = "local"
    """Any other address of this host; unprotected by the packet filter."""


@dataclass(frozen=True, slots=True)
class ListenPlace:
    """Where to listen for TCP connections. `address` "": 127.0.0.1, or the node's first overlay address.

    `port` 0 takes any free one.
    """

    scope: ListenScope
    port: int
    address: str = ""


# --- the gateway's status -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PeerPath:
    """How packets reach a peer. `endpoint` ip:port of a direct path; `region` of a relayed one; latency 0 = unknown."""

    kind: PathKind = PathKind.NONE
    endpoint: str = ""
    region: str = ""
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PeerState:
    """`routes` are subnets that the peer serves now; `active`: traffic within the last minutes."""

    stable_id: str
    name: str
    addresses: tuple[str, ...] = ()
    user: str = ""
    os: str = ""
    tags: tuple[str, ...] = ()
    online: bool | None = None
    last_seen: datetime | None = None
    path: PeerPath = PeerPath()
    home_region: str = ""
    tx_bytes: int = 0
    rx_bytes: int = 0
    last_handshake: datetime | None = None
    active: bool = False
    routes: tuple[str, ...] = ()
    expired: bool = False


@dataclass(frozen=True, slots=True)
class SelfState:
    """This node. `hostname` is known before the login, the rest after it."""

    stable_id: str = ""
    name: str = ""
    hostname: str = ""
    addresses: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    user: str = ""
    key_expiry: datetime | None = None
    advertised_routes: tuple[str, ...] = ()
    approved_routes: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlState:
    """`error` is the last failure while not connected."""

    url: str = ""
    connected: bool = False
    domain: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class DerpState:
    """The home relay; `region_id` 0: none yet."""

    region_id: int = 0
    region: str = ""
    name: str = ""
    connected: bool = False


@dataclass(frozen=True, slots=True)
class RouteState:
    """A subnet that a peer offers. `reason` says why it is not `installed`."""

    prefix: str
    peer: str
    installed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HealthState:
    """One thing that is wrong now, of the core or of any plugin."""

    code: str
    severity: Severity
    text: str
    mend: str
    since: datetime


@dataclass(frozen=True, slots=True)
class PluginState:
    """`state`: running, degraded, stalled, starting, disabled or refused; `error` is one line."""

    name: str
    state: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """Everything that a status page shows but the panels. `waiting_for` says in words what the gateway waits for.

    `auth_url` is the page at which a person logs this gateway in, "" when there is none to open. `unconfirmed_s`:
    settings on trial go back after so many seconds; None = none are. `engine_reason`
    says in words why this engine runs.
    """

    version: str
    state: BackendState
    waiting_for: str = ""
    auth_url: str = ""
    interface: str = ""
    engine: str = ""
    engine_reason: str = ""
    port: int = 0
    self_node: SelfState = SelfState()
    control: ControlState = ControlState()
    derp: DerpState = DerpState()
    peers: tuple[PeerState, ...] = ()
    routes: tuple[RouteState, ...] = ()
    health: tuple[HealthState, ...] = ()
    plugins: tuple[PluginState, ...] = ()
    unconfirmed_s: float | None = None


@dataclass(frozen=True, slots=True)
class PluginPanel:
    """A panel and the plugin that gave it."""

    plugin: str
    panel: Panel


@dataclass(frozen=True, slots=True)
class StatusChange:
    """Something in the status changed. `number` grows with every change; `kinds` are what changed since the last look.

    Kinds: state, netmap, path, endpoints, home-derp, link, health, panels. More may come; unknown ones mean: look anew.
    """

    number: int
    kinds: tuple[str, ...] = ()


VALUE_TYPES: tuple[type, ...] = (
    NodeInfo,
    NetmapSnapshot,
    NetmapChange,
    AttachedPrefix,
    OfferedRoute,
    RefusedRoute,
    RouteSelection,
    FirewallPart,
    HostinfoService,
    HostinfoPart,
    HealthItem,
    HostFacts,
    PanelRow,
    PanelAction,
    Panel,
    Metric,
    CommandReply,
    RelayRequest,
    RelayOffer,
    ListenPlace,
    PeerPath,
    PeerState,
    SelfState,
    ControlState,
    DerpState,
    RouteState,
    HealthState,
    PluginState,
    GatewayStatus,
    PluginPanel,
    StatusChange,
)
"""Every type that may cross the process border."""
