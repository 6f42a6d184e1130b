"""Wire types: every message of the control protocol; the parts are re-exported, so importers need this module only.

Import it as `from appliance.proto.control import messages as wire`. Conventions: `appliance.proto.control.wire`.
"""

# ruff: noqa: RUF012  # msgspec copies the empty defaults of a Struct

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import field

from appliance.proto.control.hostinfo import Hostinfo, Location, NetInfo, Service, TpmInfo
from appliance.proto.control.nodes import CapMap, Login, Node, PeerChange, Resolver, User, UserProfile
from appliance.proto.control.settings import (
    CapGrant,
    DerpHomeParams,
    DerpMap,
    DerpNode,
    DerpRegion,
    DnsConfig,
    DnsRecord,
    FilterRule,
    NetPortRange,
    PortRange,
    SshAction,
    SshPolicy,
    SshPrincipal,
    SshRecorderFailureAction,
    SshRule,
)
from appliance.proto.control.wire import Wire, decode, encode, from_plain
from appliance.types.errors import DecodeError, DecodeReason

ZERO_TIME = "0001-01-01T00:00:00Z"
LOGOUT_EXPIRY = "1970-01-01T00:02:03Z"
"""`RegisterRequest.expiry` of a logout (section 7.3)."""
NEW_SESSION = "new"
"""`MapRequest.map_session_handle` of a client that can resume and has nothing to resume yet."""
CAPABILITY_VERSION = 130
"""What we announce everywhere (section 16)."""
MIN_CAPABILITY_VERSION = 80
"""The oldest client that our server accepts (section 16)."""


class KeyResponse(Wire):
    """Answer of `GET /key` (section 2)."""

    legacy_public_key: str = field(default_factory=str, name="legacyPublicKey")
    public_key: str = field(default_factory=str, name="publicKey")


class EarlyPayload(Wire):
    """First thing that a server sends inside the tunnel (section 5)."""

    node_key_challenge: str = field(default="", name="nodeKeyChallenge")


class Auth(Wire):
    auth_key: str = ""


class RegisterRequest(Wire):
    """Section 7.1. `expiry` empty or zero time = server policy; `LOGOUT_EXPIRY` = logout."""

    version: int = field(default_factory=int)
    node_key: str = field(default_factory=str)
    old_node_key: str = field(default_factory=str)
    nl_key: str = ""
    auth: Auth | None = None
    expiry: str = ZERO_TIME
    followup: str = ""
    hostinfo: Hostinfo | None = None
    ephemeral: bool = False
    node_key_signature: bytes = b""
    tailnet: str = ""


class RegisterResponse(Wire):
    """Section 7.2; the first six fields are always sent (section 21)."""

    user: User = field(default_factory=User)
    login: Login = field(default_factory=Login)
    node_key_expired: bool = field(default_factory=bool)
    machine_authorized: bool = field(default_factory=bool)
    auth_url: str = field(default_factory=str)
    error: str = field(default_factory=str)
    node_key_signature: bytes = b""


class MapRequest(Wire):
    """Section 8. `endpoint_types` is parallel to `endpoints`."""

    version: int = field(default_factory=int)
    compress: str = ""
    keep_alive: bool = False
    node_key: str = field(default_factory=str)
    disco_key: str = ""
    hardware_attestation_key: str = ""
    hardware_attestation_key_signature: bytes = b""
    hardware_attestation_key_signature_timestamp: str = ""
    stream: bool = False
    hostinfo: Hostinfo | None = None
    map_session_handle: str = ""
    map_session_seq: int = 0
    endpoints: list[str] = []
    endpoint_types: list[int] = []
    tka_head: str = ""
    read_only: bool = False
    omit_peers: bool = False
    debug_flags: list[str] = []


class PingRequest(Wire):
    """Section 17. `types`: empty (HEAD), `c2n`, or a comma list of disco, TSMP, ICMP, peerapi.

    Light clients drop a map stream whose request lacks `URLIsNoise` or `Types`, so that both are always sent.
    """

    url: str = field(default_factory=str)
    url_is_noise: bool = field(default_factory=bool)
    log: bool = False
    types: str = field(default_factory=str)
    ip: str = ""
    payload: bytes = b""


class PingResponse(Wire):
    """What a node posts to the ping URL, one for each type (section 17)."""

    type: str = ""
    ip: str = ""
    node_ip: str = ""
    node_name: str = ""
    err: str = ""
    latency_seconds: float = 0.0
    endpoint: str = ""
    peer_relay: str = ""
    derp_region_id: int = 0
    derp_region_code: str = ""
    peer_api_port: int = 0
    is_local_ip: bool = False


class DisplayMessageAction(Wire):
    url: str = ""
    label: str = ""


class DisplayMessage(Wire):
    """`severity`: high, medium or low."""

    title: str = ""
    text: str = ""
    severity: str = ""
    impacts_connectivity: bool = False
    primary_action: DisplayMessageAction | None = None


class TkaInfo(Wire):
    head: str = ""
    disabled: bool = False


class Debug(Wire):
    """`sleep_seconds` is capped at 300 by nodes; `exit` is a process exit code."""

    sleep_seconds: float = 0.0
    disable_log_tail: bool = False
    exit: int | None = None


class ControlIpCandidate(Wire):
    ip: str = ""
    ace_host: str = ""
    dial_start_delay_sec: float = 0.0
    dial_timeout_sec: float = 0.0
    priority: int = 0


class ControlDialPlan(Wire):
    candidates: list[ControlIpCandidate] = []


class ClientVersion(Wire):
    running_latest: bool = False
    latest_version: str = ""
    urgent_security_update: bool = False
    notify: bool = False
    notify_url: str = ""
    notify_text: str = ""


class MapResponse(Wire):
    """Section 10. Absent = unchanged since earlier in the same stream.

    `packet_filter` and `health`: None = unchanged, `[]` = deny all / healthy. In `packet_filters` and
    `display_messages` a null value deletes the entry and the key `*` with null clears all first.
    """

    map_session_handle: str = ""
    seq: int = 0
    keep_alive: bool = False
    ping_request: PingRequest | None = None
    pop_browser_url: str = ""
    node: Node | None = None
    derp_map: DerpMap | None = None
    peers: list[Node] = []
    peers_changed: list[Node] = []
    peers_removed: list[int] = []
    peers_changed_patch: list[PeerChange] = []
    peer_seen_change: dict[int, bool] = {}
    online_change: dict[int, bool] = {}
    dns_config: DnsConfig | None = None
    domain: str = ""
    collect_services: bool | None = None
    packet_filter: list[FilterRule] | None = None
    packet_filters: dict[str, list[FilterRule] | None] = {}
    user_profiles: list[UserProfile] = []
    health: list[str] | None = None
    display_messages: dict[str, DisplayMessage | None] = {}
    ssh_policy: SshPolicy | None = None
    control_time: str = ""
    tka_info: TkaInfo | None = None
    domain_data_plane_audit_log_id: str = ""
    debug: Debug | None = None
    control_dial_plan: ControlDialPlan | None = None
    client_version: ClientVersion | None = None
    default_auto_update: bool | None = None


class SetDnsRequest(Wire):
    """POST `/machine/set-dns` (section 6)."""

    version: int = field(default_factory=int)
    node_key: str = field(default_factory=str)
    name: str = ""
    type: str = ""
    value: str = ""


class NodeCall(Wire):
    """The smaller requests of a node in one: each uses the fields that its path names (section 6)."""

    version: int = 0
    cap_version: int = 0
    node_key: str = ""
    name: str = ""
    type: str = ""
    value: str = ""
    audience: str = ""
    feature: str = ""
    subsys: str = ""
    error: str = ""
    action: str = ""
    details: str = ""
    update: dict[str, str | int | float | bool | None] = {}


def format_time(moment: datetime | None) -> str:
    """RFC 3339 in UTC with microseconds where there are any; empty for None. `moment` must be aware."""
    if moment is None:
        return ""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_time(text: str) -> datetime | None:
    """UTC moment of RFC 3339 text; None for empty and the zero time. Raises `DecodeError` (BAD_VALUE)."""
    if not text or text == ZERO_TIME:
        return None
    try:
        if "T" not in text[:11] and "t" not in text[:11]:
            raise ValueError
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise DecodeError(DecodeReason.BAD_VALUE, f"not a time: {text[:40]!r}") from None
    return None if moment.year == 1 else moment


__all__ = [
    "CAPABILITY_VERSION",
    "LOGOUT_EXPIRY",
    "MIN_CAPABILITY_VERSION",
    "ZERO_TIME",
    "Auth",
    "CapGrant",
    "CapMap",
    "ClientVersion",
    "ControlDialPlan",
    "ControlIpCandidate",
    "Debug",
    "DerpHomeParams",
    "DerpMap",
    "DerpNode",
    "DerpRegion",
    "DisplayMessage",
    "DisplayMessageAction",
    "DnsConfig",
    "DnsRecord",
    "EarlyPayload",
    "FilterRule",
    "Hostinfo",
    "KeyResponse",
    "Location",
    "Login",
    "MapRequest",
    "MapResponse",
    "NetInfo",
    "NetPortRange",
    "Node",
    "NodeCall",
    "PeerChange",
    "PingRequest",
    "PingResponse",
    "PortRange",
    "RegisterRequest",
    "RegisterResponse",
    "Resolver",
    "Service",
    "SetDnsRequest",
    "SshAction",
    "SshPolicy",
    "SshPrincipal",
    "SshRecorderFailureAction",
    "SshRule",
    "TkaInfo",
    "TpmInfo",
    "User",
    "UserProfile",
    "decode",
    "encode",
    "format_time",
    "from_plain",
    "parse_time",
]
