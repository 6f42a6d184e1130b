"""Every value type of the plugin API equals itself after a trip through JSON."""

from __future__ import annotations

from dataclasses import is_dataclass
from datetime import UTC, datetime

import msgspec
import pytest

from appliance.api import values
from appliance.api.dns import DnsAnswer, DnsAnswers, DnsSettings, DnsUpstream, ResolverWay, ResolverWish
from appliance.api.testing import round_trip
from appliance.api.values import (
    VALUE_TYPES,
    AttachedPrefix,
    CommandReply,
    ControlState,
    DerpState,
    EgressGuard,
    EgressUplink,
    FieldKind,
    Finding,
    FirewallPart,
    GatewayStatus,
    HealthItem,
    HealthState,
    HostFacts,
    HostinfoPart,
    HostinfoService,
    ListenPlace,
    ListenScope,
    Location,
    Metric,
    MetricKind,
    Neighbour,
    NetmapChange,
    NetmapSnapshot,
    NodeInfo,
    OfferedRoute,
    PacketDevice,
    Panel,
    PanelAction,
    PanelForm,
    PanelRow,
    PathCandidate,
    PathReasons,
    PeerPath,
    PeerState,
    PluginPanel,
    PluginState,
    PrefixTranslation,
    RefusedRoute,
    RelayOffer,
    RelayRequest,
    RouteSelection,
    RouteState,
    SelfState,
    SettingField,
    SettingProblem,
    StatusChange,
    TrafficShape,
    Transport,
    WakeReport,
)
from appliance.types.errors import Severity
from appliance.types.events import BackendState, PathKind

NODE = NodeInfo("n1", "gw.net.example", ("100.64.0.1", "fd7a:115c:a1e0::1"), ("10.0.0.0/8",), True, ("tag:gw",), "ann")
ITEM = HealthItem("code", "text", "mend", Severity.HIGH)
REFUSED = RefusedRoute("10.0.0.0/8", "taken")
SERVICE = HostinfoService("tcp", 22, "ssh")
ROW = PanelRow("label", "value", "detail", True)
ACTION = PanelAction("label", {"accept_routes": True, "list": [1, "x", None]})
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CANDIDATE = PathCandidate("203.0.113.1:41641", ("netmap",), True, 0.01, 0.1, "in use")
REASONS = PathReasons("its address answers", 0.02, (CANDIDATE,))
PATH = PeerPath(PathKind.DIRECT, "203.0.113.1:41641", "", 0.01)
PEER = PeerState(
    "n2",
    "b.net.example",
    ("100.64.0.2",),
    "ann",
    "linux",
    (),
    True,
    NOW,
    PATH,
    "fra",
    1,
    2,
    NOW,
    True,
    (),
    False,
    REASONS,
)
OWN = SelfState("n1", "gw.net.example", "gw", ("100.64.0.1",), ("tag:gw",), "", NOW, ("10.0.0.0/8",), (), ())
CONTROL = ControlState("https://control.example", True, "net.example")
DERP = DerpState(1, "fra", "Frankfurt", True)
ROUTE = RouteState("10.0.0.0/8", "b", False, "not accepted")
HEALTH = HealthState("x", Severity.LOW, "text", "mend", NOW)
PLUGIN = PluginState("status_page", "running")
FORM = PanelForm("Offer", ("advertise",))
PANEL = Panel("title", (ITEM,), (ROW,), (ACTION,), (FORM,))

ANSWER = DnsAnswer("a.example", (("b.example", "192.0.2.1", 60),), (("a.example", "b.example"),))
UPSTREAM = DnsUpstream("9.9.9.9", True)
DNS = DnsSettings((UPSTREAM,), (UPSTREAM,), {"corp": (UPSTREAM,)}, ("net.example",), True, (("a", "A", "192.0.2.1"),))

TRANSLATION = PrefixTranslation("192.168.1.0/24", "10.0.0.0/24")
SHAPE = TrafficShape(("10.0.0.0/8",), 500)

EXAMPLES = (
    NODE,
    Location("Germany", "DE", "Berlin", "BER", 52.5, 13.4, 7),
    UPSTREAM,
    DNS,
    ANSWER,
    DnsAnswers(7, (ANSWER,)),
    NetmapSnapshot(NODE, (NODE,), "net.example", DNS),
    NetmapChange(True, NODE, (NODE,), ("n2",), DNS),
    AttachedPrefix("192.168.1.0/24", "eth0", "192.168.1.1"),
    Neighbour("192.168.1.9", "00:1a:2b:3c:4d:5e", "eth0"),
    WakeReport(("eth0",), ("eth1: no link",)),
    OfferedRoute("10.0.0.0/8", "n2"),
    REFUSED,
    RouteSelection({"10.0.0.0/8": "", REFUSED.prefix: REFUSED.reason}, ("10.1.0.0/16",)),
    FirewallPart(("10.0.0.0/8",), False, None, ("100.100.100.100",), (TRANSLATION,), (SHAPE,)),
    TRANSLATION,
    SHAPE,
    PacketDevice("waypost-x", ("192.0.2.0/24",), ("198.18.0.0/18",)),
    EgressGuard(lan_access=True, site=True, hosts=("eth1",), not_hosts=("10.0.0.7",), direct=("192.0.2.0/24",)),
    EgressGuard(site=True, gateway_direct=True),
    EgressUplink("wg0", 4000, ("10.64.0.1:53",), 4001),
    FirewallPart(uplink=EgressUplink("wg0")),
    SERVICE,
    HostinfoPart((SERVICE,), ("ssh-ed25519 AAAA",), {"PeerRelay": True}),
    ITEM,
    HostFacts(True, None, True, 1420),
    ROW,
    ACTION,
    FORM,
    SettingField("port", FieldKind.NUMBER, "UDP port.", 53, 1, 65535),
    SettingField("apps", FieldKind.LISTS, value={"shop": ["shop.example"]}),
    SettingProblem("port", "port: is 0", "give a number"),
    PANEL,
    Metric("waypost_x", 1.5, "help", MetricKind.COUNTER, {"a": "b"}),
    CommandReply("done"),
    RelayRequest("n2", ("discokey:aa", "discokey:bb")),
    RelayOffer("discokey:cc", 1, 2, 30.0, 300.0, ("203.0.113.5:41642",)),
    ListenPlace(ListenScope.TAILNET, 443, "100.64.0.1"),
    CANDIDATE,
    REASONS,
    ListenPlace(ListenScope.SERVICE, 53, "", Transport.UDP),
    ResolverWish(ResolverWay.RESOLVED, ("100.100.100.100",), ("net.example",), ("net.example",)),
    PATH,
    PEER,
    OWN,
    CONTROL,
    DERP,
    ROUTE,
    HEALTH,
    PLUGIN,
    GatewayStatus(
        "1", BackendState.RUNNING, "", "", "waypost0", "userspace", 1, OWN, CONTROL, DERP, (PEER,), (ROUTE,), (HEALTH,)
    ),
    PluginPanel("status_page", PANEL),
    StatusChange(3, ("health", "path")),
    Finding("mtu", "failed", "large packets vanish", "let ICMP pass"),
)


@pytest.mark.parametrize("value", EXAMPLES, ids=lambda value: type(value).__name__)
def test_ok__value_survives_json(value: object) -> None:
    round_trip(value, type(value))
    with pytest.raises((AttributeError, TypeError)):
        value.unknown = 1  # type: ignore[attr-defined]  # the point of the test


def test_ok__every_value_type_has_an_example() -> None:
    assert {type(example) for example in EXAMPLES} == set(VALUE_TYPES)


def test_ok__every_dataclass_of_the_module_is_listed() -> None:
    found = {each for each in vars(values).values() if isinstance(each, type) and is_dataclass(each)}
    assert found == set(VALUE_TYPES)


def test_fail__wrong_type_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"prefix": 1, "stable_id": "n"}', type=OfferedRoute)
