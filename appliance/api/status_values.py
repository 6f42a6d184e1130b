"""Value types of `HostHandle.status`: the gateway as a status page shows it. Part of `appliance.api.values`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from appliance.types.errors import Severity
from appliance.types.events import BackendState, PathKind


@dataclass(frozen=True, slots=True)
class PeerPath:
    """How packets reach a peer. `endpoint` ip:port of a direct path; `region` of a relayed one; latency 0 = unknown."""

    kind: PathKind = PathKind.NONE
    endpoint: str = ""
    region: str = ""
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PathCandidate:
    """One address of a peer. `sources`: where it was learned. Latency of the last answer, 0 = none yet.

    `loss`: share of pings lost, None while unknown. `why`: why it is used or not.
    """

    endpoint: str
    sources: tuple[str, ...] = ()
    in_use: bool = False
    latency_s: float = 0.0
    loss: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class PathReasons:
    """Why a peer's path is the one it is. `relay_latency_s` through DERP where it was measured, 0 = unknown."""

    why: str = ""
    relay_latency_s: float = 0.0
    candidates: tuple[PathCandidate, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerState:
    """`routes` are subnets that the peer serves now; `active`: traffic within the last minutes, and then `reasons`."""

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
    reasons: PathReasons | None = None


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
    """The home relay; `region_id` 0: none yet. `latency_s` of each region that answered last, by its code."""

    region_id: int = 0
    region: str = ""
    name: str = ""
    connected: bool = False
    latency_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RouteState:
    """A subnet that a peer offers. `reason` says why it is not `installed`. `own_first`: it counts where the host has
    no route of its own of that length or longer."""

    prefix: str
    peer: str
    installed: bool
    reason: str = ""
    own_first: bool = False


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
    settings on trial go back after so many seconds; None = none are. `engine_reason` says in words
    why this engine runs.
    """

    version: str
    state: BackendState
    waiting_for: str = ""
    auth_url: str = ""
    interface: str = ""
    engine: str = ""
    port: int = 0
    self_node: SelfState = SelfState()
    control: ControlState = ControlState()
    derp: DerpState = DerpState()
    peers: tuple[PeerState, ...] = ()
    routes: tuple[RouteState, ...] = ()
    health: tuple[HealthState, ...] = ()
    plugins: tuple[PluginState, ...] = ()
    unconfirmed_s: float | None = None
    engine_reason: str = ""
