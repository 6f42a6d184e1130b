"""Value types of the plugin API: frozen, built from plain types only, so that each survives a trip through JSON.

Addresses and prefixes are text in their normal form ("192.168.1.0/24"), parsed with `appliance.types.addresses`. A test
holds that every type here equals itself after `msgspec.json` encoding and decoding: the same values cross a process
border when a plugin runs in `waypost-apps`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from appliance.api.dns import DnsAnswer, DnsAnswers, DnsSettings, DnsUpstream, ResolverWish
from appliance.api.firewall_values import EgressGuard as EgressGuard
from appliance.api.firewall_values import EgressUplink as EgressUplink
from appliance.api.firewall_values import FirewallPart as FirewallPart
from appliance.api.firewall_values import PacketDevice as PacketDevice
from appliance.api.firewall_values import PrefixTranslation as PrefixTranslation
from appliance.api.firewall_values import TrafficShape as TrafficShape
from appliance.api.form_values import FieldKind as FieldKind
from appliance.api.form_values import PanelForm as PanelForm
from appliance.api.form_values import SettingField as SettingField
from appliance.api.form_values import SettingProblem as SettingProblem
from appliance.api.status_values import ControlState as ControlState
from appliance.api.status_values import DerpState as DerpState
from appliance.api.status_values import GatewayStatus as GatewayStatus
from appliance.api.status_values import HealthState as HealthState
from appliance.api.status_values import PathCandidate as PathCandidate
from appliance.api.status_values import PathReasons as PathReasons
from appliance.api.status_values import PeerPath as PeerPath
from appliance.api.status_values import PeerState as PeerState
from appliance.api.status_values import PluginState as PluginState
from appliance.api.status_values import RouteState as RouteState
from appliance.api.status_values import SelfState as SelfState
from appliance.types.errors import Severity
from appliance.types.findings import Finding as Finding
from appliance.types.location import Location as Location
from appliance.types.wake import WakeReport as WakeReport

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
    """Press the buttons of other plugins' panels, and fill in their forms."""
    UNDERLAY = "underlay"
    """UDP ports outside the tunnel; for plugins inside `waypostd` only."""
    PROBE = "probe"
    """Ask hosts outside the mesh whether they answer."""
    RESOLVER = "resolver"
    """Have the host's own programs ask another DNS resolver; tell what names resolve to."""
    ANSWERS = "answers"
    """See what names resolve to, for whoever asks this gateway."""
    ADDRESSES = "addresses"
    """Let this host hold one more address on an attached network."""
    PACKETS = "packets"
    """A network device of its own, whose packets it handles; for plugins inside `waypostd` only."""
    LAN = "lan"
    """Broadcast and multicast on attached networks: wake hosts, join groups."""


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


# --- netmap ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """This node or a peer. `routes`: what it routes beyond its own addresses; for this node: its approved routes.

    `name` is the FQDN without its trailing dot; `online` None means unknown; `capabilities` are capability names;
    `primary` are the routes, of those that several nodes serve, that this one serves now. `translations` are what it
    says of its site's networks; whether it serves them is another matter: see `routes`.
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
    primary: tuple[str, ...] = ()
    location: Location | None = None
    translations: tuple[PrefixTranslation, ...] = ()


@dataclass(frozen=True, slots=True)
class NetmapSnapshot:
    """All that this node sees. As large as the mesh: ask for it rarely, follow `NetmapChange` instead."""

    self_node: NodeInfo | None = None
    peers: tuple[NodeInfo, ...] = ()
    domain: str = ""
    dns: DnsSettings = field(default_factory=DnsSettings)


@dataclass(frozen=True, slots=True)
class NetmapChange:
    """What one netmap update changed. `full`: forget all peers known before, `changed` holds every one there is.

    `self_node` and `dns` are None when they did not change; `removed` are stable ids.
    """

    full: bool = False
    self_node: NodeInfo | None = None
    changed: tuple[NodeInfo, ...] = ()
    removed: tuple[str, ...] = ()
    dns: DnsSettings | None = None


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
    """A prefix that one of the host's own interfaces is in. `address` is the host's address there; `up`: the interface
    has a carrier (a cable, an association)."""

    prefix: str
    interface: str
    address: str = ""
    up: bool = True


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A host of an attached network that this one spoke with lately; `mac` as "00:1a:2b:3c:4d:5e"."""

    address: str
    mac: str
    interface: str


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
    """`verdicts` on offered routes: by prefix "" = accepted, else why it is refused. `throws`: attached prefixes inside
    accepted ones; they keep the host's own routes.

    Of the accepted prefixes those in `own_first` count only where the host has no route of its own of that length or
    longer; others go before the host's routes, and all do while an exit is used.

    `via` names the peer to use for an accepted prefix that several peers serve, as exits do. Where `verdicts` is an
    `appliance.types.editions.Edition`, a new selection costs what changed of them.
    """

    verdicts: Mapping[str, str] = field(default_factory=dict)
    throws: tuple[str, ...] = ()
    via: tuple[OfferedRoute, ...] = ()
    own_first: tuple[str, ...] = ()

    @property
    def accepted(self) -> tuple[str, ...]:
        return tuple(prefix for prefix, reason in self.verdicts.items() if not reason)

    @property
    def refused(self) -> tuple[RefusedRoute, ...]:
        return tuple(RefusedRoute(prefix, reason) for prefix, reason in self.verdicts.items() if reason)


# --- hostinfo -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HostinfoService:
    """A service to be shown to peers; `proto`: tcp, udp, peerapi4, peerapi6, peerapi-dns-proxy, waypost-translation."""

    proto: str
    port: int
    description: str = ""


@dataclass(frozen=True, slots=True)
class HostinfoPart:
    """Additions to this node's Hostinfo. `flags` are its boolean fields by wire name ("PeerRelay"); `exit_node` is the
    stable id of the exit in use; `location` is where the node is."""

    services: tuple[HostinfoService, ...] = ()
    ssh_host_keys: tuple[str, ...] = ()
    flags: dict[str, bool] = field(default_factory=dict)
    exit_node: str = ""
    location: Location | None = None


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
    tunnel_mtu: int = 1280
    """Longest packet that the tunnel takes, in bytes."""


@dataclass(frozen=True, slots=True)
class PanelRow:
    label: str
    value: str
    detail: str = ""
    bad: bool = False


@dataclass(frozen=True, slots=True)
class PanelAction:
    """A button. `settings` are the plugin's settings that pressing it sets; with `command` it runs one of the plugin's
    commands with its arguments instead, and sets nothing."""

    label: str
    settings: dict[str, JsonValue] = field(default_factory=dict)
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """One section of the status page and of `waypost status --verbose`."""

    title: str
    health: tuple[HealthItem, ...] = ()
    rows: tuple[PanelRow, ...] = ()
    actions: tuple[PanelAction, ...] = ()
    forms: tuple[PanelForm, ...] = ()
    """None: the page offers one with all settings."""


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
    SERVICE = "service"
    """A service address of the mesh, which this host's own programs reach (see `FirewallPart.service_addresses`)."""
    EXIT = "exit"
    """Loopback; takes TCP of those who use this exit (see `EgressUplink.port`). The local address of an accepted
    connection is where it was going."""


class Transport(StrEnum):
    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True)
class ListenPlace:
    """Where to listen. `address` "": 127.0.0.1, the node's first overlay address, or 100.100.100.100 by the scope.

    `port` 0 takes any free one.
    """

    scope: ListenScope
    port: int
    address: str = ""
    transport: Transport = Transport.TCP


# --- the gateway's status -------------------------------------------------------------------------------------------


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
    Location,
    DnsUpstream,
    DnsSettings,
    DnsAnswer,
    DnsAnswers,
    NetmapSnapshot,
    NetmapChange,
    AttachedPrefix,
    Neighbour,
    OfferedRoute,
    RefusedRoute,
    RouteSelection,
    EgressGuard,
    PrefixTranslation,
    TrafficShape,
    EgressUplink,
    FirewallPart,
    PacketDevice,
    HostinfoService,
    HostinfoPart,
    HealthItem,
    HostFacts,
    PanelRow,
    PanelAction,
    PanelForm,
    Panel,
    SettingField,
    SettingProblem,
    Metric,
    CommandReply,
    RelayRequest,
    RelayOffer,
    ListenPlace,
    PathCandidate,
    PathReasons,
    ResolverWish,
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
    Finding,
    WakeReport,
)
"""Every type that may cross the process border."""
