"""Wire types: what a node tells about itself (control-protocol spec section 12)."""

# ruff: noqa: RUF012  # msgspec copies the empty defaults of a Struct

from __future__ import annotations

from msgspec import field

from appliance.proto.control.wire import Wire


class NetInfo(Wire):
    """Result of the last netcheck. `derp_latency`: `<region>-v4` or `-v6` to seconds. None = unknown."""

    mapping_varies_by_dest_ip: bool | None = None
    working_ipv6: bool | None = None
    os_has_ipv6: bool | None = None
    working_udp: bool | None = None
    working_icmpv4: bool | None = None
    have_port_map: bool = False
    upnp: bool | None = None
    pmp: bool | None = None
    pcp: bool | None = None
    preferred_derp: int = 0
    link_type: str = ""
    derp_latency: dict[str, float] = {}
    firewall_mode: str = ""


class Service(Wire):
    """`proto`: tcp, udp, peerapi4, peerapi6 or peerapi-dns-proxy."""

    proto: str = field(default_factory=str)
    port: int = field(default_factory=int)
    description: str = ""


class Location(Wire):
    country: str = ""
    country_code: str = ""
    city: str = ""
    city_code: str = ""
    latitude: float = 0.0
    longitude: float = 0.0
    priority: int = 0


class TpmInfo(Wire):
    manufacturer: str = ""
    vendor: str = ""
    model: str = ""
    firmware_version: int = 0
    spec_revision: int = 0
    family_indicator: str = ""


class Hostinfo(Wire):
    """`ssh_host_keys` non-empty = runs the SSH server. `routable_ips` are advertised routes."""

    ipn_version: str = ""
    frontend_log_id: str = ""
    backend_log_id: str = ""
    os: str = ""
    os_version: str = ""
    container: bool | None = None
    env: str = ""
    distro: str = ""
    distro_version: str = ""
    distro_codename: str = field(default="", name="DistroCodeName")
    app: str = ""
    desktop: bool | None = None
    package: str = ""
    device_model: str = ""
    push_device_token: str = ""
    hostname: str = ""
    shields_up: bool = False
    sharee_node: bool = False
    no_logs_no_support: bool = False
    wire_ingress: bool = False
    ingress_enabled: bool = False
    allows_update: bool = False
    remote_config: bool = False
    machine: str = ""
    go_arch: str = ""
    go_arch_var: str = ""
    go_version: str = ""
    routable_ips: list[str] = []
    request_tags: list[str] = []
    wol_macs: list[str] = []
    services: list[Service] = []
    services_hash: str = ""
    net_info: NetInfo | None = None
    ssh_host_keys: list[str] = field(default_factory=list, name="sshHostKeys")
    cloud: str = ""
    userspace: bool | None = None
    userspace_router: bool | None = None
    app_connector: bool | None = None
    peer_relay: bool = False
    exit_node_id: str = ""
    location: Location | None = None
    tpm: TpmInfo | None = None
    state_encrypted: bool | None = None
