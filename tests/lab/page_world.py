"""What the status page's tests show: one gateway with peers on every kind of path, something wrong, a panel."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from appliance.api import (
    ControlState,
    DerpState,
    GatewayStatus,
    HealthItem,
    HealthState,
    Panel,
    PanelAction,
    PanelRow,
    PeerPath,
    PeerState,
    PluginPanel,
    PluginState,
    RouteState,
    SelfState,
)
from appliance.types.errors import Severity
from appliance.types.events import BackendState, PathKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DOMAIN = "mesh.internal"

PATHS = {
    "workshop": PeerPath(PathKind.DIRECT, endpoint="198.51.100.23:41641", latency_s=0.0123),
    "warehouse": PeerPath(PathKind.DERP, region="fra", latency_s=0.048),
    "harbour": PeerPath(PathKind.PEER_RELAY, endpoint="203.0.113.9:7777", latency_s=0.031),
    "phone": PeerPath(PathKind.DIRECT, endpoint="[2001:db8:4:9::21]:41641", latency_s=0.0041),
    "spare-gateway-in-the-mountain-hut": PeerPath(),
    "laptop": PeerPath(),
}


def peer(number: int, name: str, path: PeerPath) -> PeerState:
    away = path.kind is PathKind.NONE
    return PeerState(
        stable_id=f"n{number}",
        name=f"{name}.{DOMAIN}",
        addresses=(f"100.64.0.{number + 1}", f"fd7a:115c:a1e0::{number + 1}"),
        user="alice@example.com",
        os="linux" if number % 2 else "android",
        online=not away,
        last_seen=NOW - timedelta(hours=5 * number) if away else None,
        path=path,
        tx_bytes=number**5 * 9173,
        rx_bytes=number**6 * 4711,
        active=not away,
        routes=("192.168.20.0/24",) if name == "warehouse" else (),
    )


def gateway(**paths: PeerPath) -> GatewayStatus:
    """`paths` replace those of single peers."""
    peers = tuple(peer(number, name, path) for number, (name, path) in enumerate((PATHS | paths).items(), 1))
    return GatewayStatus(
        version="0.1.0",
        state=BackendState.RUNNING,
        interface="waypost0",
        engine="userspace",
        port=41641,
        self_node=SelfState(
            stable_id="n0",
            name=f"site-a.{DOMAIN}",
            hostname="site-a",
            addresses=("100.64.0.1", "fd7a:115c:a1e0::1"),
            user="alice@example.com",
            key_expiry=NOW + timedelta(days=12),
            advertised_routes=("192.168.10.0/24", "10.20.0.0/16"),
            approved_routes=("192.168.10.0/24",),
            endpoints=("192.0.2.4:41641", "198.51.100.4:41641", "[2001:db8:1::4]:41641"),
        ),
        control=ControlState("https://control.example.com", True, DOMAIN),
        derp=DerpState(900, "fra", "Frankfurt", True),
        peers=peers,
        routes=(
            RouteState("192.168.20.0/24", f"warehouse.{DOMAIN}", True),
            RouteState("192.168.10.0/24", f"harbour.{DOMAIN}", False, "this gateway is in that network"),
        ),
        health=(
            HealthState(
                "subnet_router.routes-not-approved",
                Severity.MEDIUM,
                "advertised routes wait for approval: 10.20.0.0/16",
                "approve them on the control server, or name them in the policy's autoApprovers",
                NOW - timedelta(minutes=42),
            ),
            HealthState(
                "key-expiry",
                Severity.LOW,
                "this gateway's key expires in 12 days",
                "run: waypost up --force-login",
                NOW - timedelta(days=1),
            ),
        ),
        plugins=(PluginState("subnet_router", "running"), PluginState("magicdns", "degraded", "port 53 is in use")),
    )


def panels() -> tuple[PluginPanel, ...]:
    rows = (
        PanelRow("Advertised", "192.168.10.0/24", "approved"),
        PanelRow("Advertised", "10.20.0.0/16", "waits for approval", bad=True),
        PanelRow("Accepted", "192.168.20.0/24"),
        PanelRow("Source address", "gateway's own", "mesh traffic enters the own networks as the gateway"),
    )
    health = (HealthItem("routes-not-approved", "advertised routes wait for approval: 10.20.0.0/16"),)
    action = PanelAction("Stop using peers' subnets", {"accept_routes": False})
    return (PluginPanel("subnet_router", Panel("Subnet routes", health, rows, (action,))),)
