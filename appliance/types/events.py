"""What services tell each other. Published on `appliance.ports.events.EventBus`; all are immutable snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.types.addresses import AddrPort
from appliance.types.errors import Severity
from appliance.types.ids import RegionId
from appliance.types.keys import NodePublicKey
from appliance.types.netmap import Endpoint, NetmapDiff


class PathKind(StrEnum):
    """How packets reach a peer, best first."""

    DIRECT = "direct"
    PEER_RELAY = "peer-relay"
    DERP = "derp"
    NONE = "none"


class BackendState(StrEnum):
    """State of the gateway as shown by `waypost status`."""

    STOPPED = "stopped"
    NEEDS_LOGIN = "needs-login"
    NEEDS_APPROVAL = "needs-approval"
    STARTING = "starting"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class PathChanged:
    """A peer's best path is another one now. `latency_s` 0 = unknown."""

    peer: NodePublicKey
    kind: PathKind
    endpoint: AddrPort | None = None
    region: RegionId | None = None
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True)
class EndpointsChanged:
    """The set of this node's own endpoints changed."""

    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class HomeDerpChanged:
    region: RegionId


@dataclass(frozen=True, slots=True)
class NetmapChanged:
    diff: NetmapDiff


@dataclass(frozen=True, slots=True)
class BackendStateChanged:
    state: BackendState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """The host's network changed. `major`: default route, its interface or its address; sockets must be re-opened."""

    major: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HealthChanged:
    code: str
    broken: bool
    text: str = ""
    mend: str = ""
    severity: Severity = Severity.MEDIUM


@dataclass(frozen=True, slots=True)
class FlowRefused:
    """A peer says that its packet filter refused a connection of this host or of a network behind it."""

    peer: NodePublicKey
    destination: AddrPort
    reason: str


Event = (
    PathChanged
    | EndpointsChanged
    | HomeDerpChanged
    | NetmapChanged
    | BackendStateChanged
    | LinkChanged
    | HealthChanged
    | FlowRefused
)
