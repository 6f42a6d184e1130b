"""Wire types: what control sets for a node (control-protocol spec sections 13, 14; derp spec section 6)."""

# ruff: noqa: RUF012  # msgspec copies the empty defaults of a Struct

from __future__ import annotations

from msgspec import field

from appliance.proto.control.nodes import CapMap, Resolver
from appliance.proto.control.wire import CamelWire, Wire


class DerpNode(Wire):
    name: str = field(default_factory=str)
    region_id: int = field(default_factory=int)
    host_name: str = field(default_factory=str)
    cert_name: str = ""
    ipv4: str = ""
    ipv6: str = ""
    stun_port: int = 0
    stun_only: bool = False
    derp_port: int = 0
    insecure_for_tests: bool = False
    stun_test_ip: str = ""
    can_port80: bool = False


class DerpRegion(Wire):
    region_id: int = field(default_factory=int)
    region_code: str = field(default_factory=str)
    region_name: str = field(default_factory=str)
    latitude: float = 0.0
    longitude: float = 0.0
    avoid: bool = False
    no_measure_no_home: bool = False
    nodes: list[DerpNode] = []


class DerpHomeParams(Wire):
    """`region_score` None = unchanged, `{}` = reset all to 1.0; keys are region ids in decimal."""

    region_score: dict[str, float] | None = None


class DerpMap(Wire):
    """`regions` None = unchanged, else the complete new set; keys are region ids in decimal."""

    home_params: DerpHomeParams | None = None
    regions: dict[str, DerpRegion | None] | None = None
    omit_default_regions: bool = field(default=False, name="omitDefaultRegions")


class DnsRecord(Wire):
    """`type`: empty, A or AAAA."""

    name: str = field(default_factory=str)
    type: str = ""
    value: str = field(default_factory=str)


class DnsConfig(Wire):
    """`routes`: suffix to resolvers; an empty list or null is answered locally."""

    resolvers: list[Resolver] = []
    routes: dict[str, list[Resolver] | None] = {}
    fallback_resolvers: list[Resolver] = []
    domains: list[str] = []
    proxied: bool = False
    nameservers: list[str] = []
    cert_domains: list[str] = []
    extra_records: list[DnsRecord] = []
    exit_node_filtered_set: list[str] = []


class PortRange(Wire):
    """Inclusive; 0-65535 = any."""

    first: int = field(default_factory=int)
    last: int = field(default_factory=int)


class NetPortRange(Wire):
    """`ip`: `*`, IP, CIDR or `a-b`. `bits` present voids the whole rule set; never sent."""

    ip: str = field(default_factory=str)
    bits: int | None = None
    ports: PortRange = field(default_factory=PortRange)


class CapGrant(Wire):
    dsts: list[str] = field(default_factory=list)
    caps: list[str] = []
    cap_map: CapMap = {}


class FilterRule(Wire):
    """Either `dst_ports` (with `ip_proto`) or `cap_grant`; the other's keys are left out."""

    src_ips: list[str] = field(default_factory=lambda: list[str]())
    src_bits: list[int] = []
    dst_ports: list[NetPortRange] = []
    ip_proto: list[int] = []
    cap_grant: list[CapGrant] = []


class SshPrincipal(CamelWire):
    node: str = ""
    node_ip: str = field(default="", name="nodeIP")
    user_login: str = ""
    any: bool = False


class SshRecorderFailureAction(Wire):
    reject_session_with_message: str = ""
    terminate_session_with_message: str = ""
    notify_url: str = ""


class SshAction(CamelWire):
    """`session_duration` in nanoseconds, 0 = unlimited."""

    message: str = ""
    reject: bool = False
    accept: bool = False
    session_duration: int = 0
    allow_agent_forwarding: bool = False
    hold_and_delegate: str = ""
    allow_local_port_forwarding: bool = False
    allow_remote_port_forwarding: bool = False
    recorders: list[str] = []
    on_recording_failure: SshRecorderFailureAction | None = None


class SshRule(CamelWire):
    rule_expires: str = ""
    principals: list[SshPrincipal] = field(default_factory=lambda: list[SshPrincipal]())
    ssh_users: dict[str, str] = field(default_factory=dict)
    action: SshAction | None = None
    accept_env: list[str] = []


class SshPolicy(CamelWire):
    """First match wins; no rules = nobody."""

    rules: list[SshRule] = field(default_factory=lambda: list[SshRule]())
