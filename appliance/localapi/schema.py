"""Types of the local API, version 1, shared by its server and the CLI.

Requests and answers are JSON. Fields may be added; none changes its meaning within a version. Times are UTC, `*_s`
seconds, keys and prefixes their text forms. An answer with an HTTP status from 400 on is `ErrorReply`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from appliance.types.errors import Severity
from appliance.types.events import BackendState, PathKind

API = "/v1"
HOST = "local-waypostd.sock"
"""The one value of the Host header that is served; a browser cannot send it."""
TRACE_HEADER = "Waypost-Trace"
DEFAULT_SOCKET = "/run/waypost/waypostd.sock"


# --- errors and health ----------------------------------------------------------------------------------------------


class ErrorReply(msgspec.Struct, frozen=True, kw_only=True):
    """`code` is stable; `mend` says what to do."""

    code: str
    text: str
    mend: str = ""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    severity: Severity
    text: str
    mend: str = ""
    since: datetime


# --- status ---------------------------------------------------------------------------------------------------------


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """How packets reach a peer. `endpoint` ip:port of a direct path; `region` of a relayed one; latency 0 = unknown.

    `mtu`: the largest IP packet known to pass on a direct path, None = not measured.
    """

    kind: PathKind = PathKind.NONE
    endpoint: str = ""
    region: str = ""
    latency_s: float = 0.0
    mtu: int | None = None


class PathCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """One address of a peer. `sources`: where it was learned. Latency of the last answer, 0 = none yet.

    `loss`: share of pings lost, None while unknown. `mtu`: the largest IP packet known to pass, 0 = not even one of
    1280 bytes, None = not measured. `why`: why it is used or not.
    """

    endpoint: str
    sources: tuple[str, ...] = ()
    in_use: bool = False
    latency_s: float = 0.0
    loss: float | None = None
    mtu: int | None = None
    why: str = ""


class PathReasons(msgspec.Struct, frozen=True, kw_only=True):
    """Why a peer's path is the one it is. `relay_latency_s` through DERP where it was measured, 0 = unknown.

    `survives_s`: silence that the direct path is known to survive, 0 = less than ten seconds, None = not measured.
    """

    why: str = ""
    relay_latency_s: float = 0.0
    survives_s: float | None = None
    candidates: tuple[PathCandidate, ...] = ()


class SelfStatus(msgspec.Struct, frozen=True, kw_only=True):
    stable_id: str = ""
    name: str = ""
    hostname: str = ""
    addresses: tuple[str, ...] = ()
    node_key: str = ""
    tags: tuple[str, ...] = ()
    user: str = ""
    key_expiry: datetime | None = None
    advertised_routes: tuple[str, ...] = ()
    approved_routes: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()


class PeerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`routes` are subnets that the peer serves now; `active`: traffic within the last minutes, and then `reasons`."""

    stable_id: str
    name: str
    addresses: tuple[str, ...] = ()
    node_key: str = ""
    user: str = ""
    os: str = ""
    tags: tuple[str, ...] = ()
    online: bool | None = None
    last_seen: datetime | None = None
    path: Path = Path()
    home_region: str = ""
    tx_bytes: int = 0
    rx_bytes: int = 0
    last_handshake: datetime | None = None
    active: bool = False
    routes: tuple[str, ...] = ()
    expired: bool = False
    reasons: PathReasons | None = None


class ControlStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`error` is the last failure while not connected.

    `saved_netmap`: time of the netmap of an earlier run on which this one works since `unreachable_since`.
    """

    url: str = ""
    connected: bool = False
    domain: str = ""
    error: str = ""
    saved_netmap: datetime | None = None
    unreachable_since: datetime | None = None


class DerpStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The home relay; `latency_s` of each region that answered last, by its code."""

    region_id: int = 0
    region: str = ""
    name: str = ""
    connected: bool = False
    latency_s: dict[str, float] = {}


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A subnet route that a peer offers. `reason` says why it is not `installed`. `own_first`: it counts where the host
    has no route of its own of that length or longer."""

    prefix: str
    peer: str
    installed: bool
    reason: str = ""
    own_first: bool = False


class PluginStatus(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    state: str
    error: str = ""


class PanelRow(msgspec.Struct, frozen=True, kw_only=True):
    label: str
    value: str
    bad: bool = False


class UplinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A way to the Internet. `state`: good, lossy, down or absent; `loss` a share of the last probes.

    Rates are bytes a second of all traffic on the interface: lately, and the most since the gateway looks; `carries` is
    what was measured each way, None = not known. `metered`: it is not measured, to save data.
    """

    interface: str
    in_use: bool = False
    state: str = "absent"
    latency_s: float | None = None
    loss: float = 0.0
    rx_bytes_s: float = 0.0
    tx_bytes_s: float = 0.0
    rx_peak_bytes_s: float = 0.0
    tx_peak_bytes_s: float = 0.0
    carries_tx_bytes_s: float | None = None
    carries_rx_bytes_s: float | None = None
    metered: bool = False


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """`waiting_for` says in words what the gateway waits for, "" when nothing.

    `login_pending`: a login is under way, perhaps beside one that runs; `auth_url` is what a person must open for it.
    `login_error` is why the last login failed. `unconfirmed_s`: settings on trial go back after so many seconds.
    `rootless`: the tunnel is in a network of an ordinary user's own, not on the host.
    `engine_reason` is why this engine runs, in words.
    """

    version: str
    state: BackendState
    waiting_for: str = ""
    login_error: ErrorReply | None = None
    auth_url: str = ""
    login_pending: bool = False
    unconfirmed_s: float | None = None
    interface: str = ""
    engine: str = ""
    rootless: bool = False
    engine_form: str = ""
    engine_reason: str = ""
    port: int = 0
    self_node: SelfStatus = SelfStatus()
    control: ControlStatus = ControlStatus()
    derp: DerpStatus = DerpStatus()
    peers: tuple[PeerStatus, ...] = ()
    routes: tuple[Route, ...] = ()
    health: tuple[Health, ...] = ()
    plugins: tuple[PluginStatus, ...] = ()
    uplinks: tuple[UplinkStatus, ...] = ()


# --- preferences and login ------------------------------------------------------------------------------------------


class PrefsPatch(msgspec.Struct, frozen=True, kw_only=True):
    """What to change; an absent field stays. `plugins` settings of null go back to the configuration file.

    `confirm_within_s`: take the change back after so many seconds unless `POST /v1/confirm` comes before.
    """

    hostname: str | UnsetType = UNSET
    advertise_tags: tuple[str, ...] | UnsetType = UNSET
    shields_up: bool | UnsetType = UNSET
    operator: str | UnsetType = UNSET
    ca_file: str | UnsetType = UNSET
    plugins: dict[str, dict[str, Any]] | UnsetType = UNSET
    confirm_within_s: float | UnsetType = UNSET


class PrefsView(msgspec.Struct, frozen=True, kw_only=True):
    """The preferences in force."""

    want_running: bool
    logged_out: bool
    control_url: str
    hostname: str
    advertise_tags: tuple[str, ...]
    shields_up: bool
    operator: str
    plugins: dict[str, dict[str, Any]]
    ca_file: str = ""


class UpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Start, and log in where needed. `control_url` "" keeps the present one.

    `force_login` makes a new login even with valid keys; `auth_key` is used for this login only and never stored.
    `profile` "" is the current one; a name that does not exist makes a new profile.
    """

    control_url: str = ""
    profile: str = ""
    auth_key: str = ""
    force_login: bool = False
    prefs: PrefsPatch = PrefsPatch()

    def __repr__(self) -> str:
        return f"UpRequest(control_url={self.control_url!r}, auth_key={'redacted' if self.auth_key else 'none'})"


class UpReply(msgspec.Struct, frozen=True, kw_only=True):
    """`login`: a login was started; follow `status` until it ends. Otherwise stored keys are used."""

    login: bool


class ProfileView(msgspec.Struct, frozen=True, kw_only=True):
    """One login of this gateway."""

    id: str
    name: str
    current: bool = False
    control_url: str = ""
    login_name: str = ""
    logged_in: bool = False


class ProfileChoice(msgspec.Struct, frozen=True, kw_only=True):
    """`name`: name or id of a profile."""

    name: str


# --- tools ----------------------------------------------------------------------------------------------------------


class PingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`target`: address, name or first label of a peer.

    `kind`: disco (paths), TSMP (its daemon), ICMP (its host) or peerapi. `explain`: tell why the path is what it is.
    """

    target: str
    timeout_s: float = 5.0
    kind: str = "disco"
    explain: bool = False


class PingReply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `error` non-empty: none came. `peerapi_port` where the kind of ping tells it, 0 = none.

    `reasons` and `current` (the path of traffic now) when they were asked for.
    """

    name: str = ""
    address: str = ""
    path: Path = Path()
    error: str = ""
    peerapi_port: int = 0
    reasons: PathReasons | None = None
    current: Path | None = None


class RegionLatency(msgspec.Struct, frozen=True, kw_only=True):
    region_id: int
    code: str
    name: str = ""
    latency_s: float | None = None
    v4_latency_s: float | None = None
    v6_latency_s: float | None = None


class NetcheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the network around this node allows. None = could not be found out.

    `port_mapping` names the protocols that the router answers, `port_mapped` the outside address that it gave us,
    `port_mapping_error` why it gave none. `regions` are in order of latency, those without an answer last.
    """

    udp: bool | None = None
    ipv4: bool | None = None
    ipv6: bool | None = None
    global_v4: str = ""
    global_v6: str = ""
    mapping_varies: bool | None = None
    hairpinning: bool | None = None
    os_has_ipv6: bool | None = None
    icmpv4: bool | None = None
    port_mapping: str = ""
    port_mapped: str = ""
    port_mapping_error: str = ""
    captive_portal: bool | None = None
    preferred_region: int = 0
    regions: tuple[RegionLatency, ...] = ()
    finished_at: datetime | None = None


class VersionReply(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    api: int = 1
    engine: str = ""
    pid: int = 0


class LoopDelay(msgspec.Struct, frozen=True, kw_only=True):
    """How late the daemon's event loop was while it was measured."""

    worst_s: float = 0.0
    p99_s: float = 0.0
    samples: int = 0


class EventLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the event stream: a state change or a health change. `fields` are plain JSON values."""

    at: datetime
    kind: str
    fields: dict[str, Any] = {}
