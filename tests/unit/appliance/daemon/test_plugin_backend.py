"""What plugins see of the gateway: its status in their words, and buttons."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_network
from types import SimpleNamespace

import pytest

from appliance.api.values import (
    CommandReply,
    EgressGuard,
    FieldKind,
    ListenPlace,
    ListenScope,
    Panel,
    PanelAction,
    PluginPanel,
    SettingField,
    SettingProblem,
)
from appliance.daemon.applier import Situation
from appliance.daemon.parts import Lan
from appliance.daemon.plugin_backend import PluginBackend
from appliance.drivers.shared_address import SharedAddressError
from appliance.health.tracker import HealthTracker
from appliance.localapi.backend import MemoryBackend
from appliance.localapi.schema import Health, Path, PeerStatus, PrefsPatch, PrefsView, Route, Status
from appliance.ports.clock import VirtualClock
from appliance.ports.events import EventBus
from appliance.ports.netlink import QueueTraffic
from appliance.ports.randomness import SeededRandomness
from appliance.types.errors import ApplianceError, ConfigError, Severity
from appliance.types.events import BackendState, PathKind
from appliance.types.ids import NodeId, StableNodeId
from appliance.types.keys import NodePublicKey
from appliance.types.netmap import CapGrant, FilterRule, Node

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STATUS = Status(
    version="1",
    state=BackendState.RUNNING,
    peers=(PeerStatus(stable_id="n2", name="b", last_seen=NOW, path=Path(kind=PathKind.DERP, region="fra")),),
    routes=(Route(prefix="10.0.0.0/8", peer="b", installed=True),),
    health=(Health(code="x", severity=Severity.HIGH, text="text", mend="mend", since=NOW),),
)


def view() -> PrefsView:
    return PrefsView(
        want_running=True,
        logged_out=False,
        control_url="",
        hostname="",
        advertise_tags=(),
        shields_up=False,
        operator="",
        plugins={},
    )


@pytest.fixture
def backend() -> PluginBackend:
    clock = VirtualClock()
    health = HealthTracker(EventBus(), clock)
    return PluginBackend(clock, SeededRandomness(1), health, None, None, Situation())  # type: ignore[arg-type]  # not used


def test_ok__status_in_the_words_of_the_plugin_api(backend: PluginBackend) -> None:
    backend.gateway = MemoryBackend(STATUS, view())
    status = backend.status()
    assert (status.state, status.peers[0].path.region, status.peers[0].last_seen) == (BackendState.RUNNING, "fra", NOW)
    assert status.health[0].severity is Severity.HIGH
    assert status.routes[0].installed
    assert backend.status(peers=False).peers == ()


async def test_ok__button_sets_what_the_panel_says(backend: PluginBackend) -> None:
    gateway = backend.gateway = MemoryBackend(STATUS, view())
    panel = Panel("t", actions=(PanelAction("Use", {"accept_routes": True}),))

    async def panels() -> tuple[PluginPanel, ...]:
        return (PluginPanel("subnet_router", panel),)

    backend.all_panels = panels
    await backend.act("subnet_router", "Use")
    await backend.confirm()
    change = PrefsPatch(plugins={"subnet_router": {"accept_routes": True}}, confirm_within_s=60.0)
    assert gateway.asked == [change, "confirm"]
    for wrong in (("subnet_router", "Stop"), ("other", "Use")):
        with pytest.raises(ApplianceError, match="no button"):
            await backend.act(*wrong)


async def test_ok__form_sets_as_the_command_line_does(backend: PluginBackend) -> None:
    gateway = backend.gateway = MemoryBackend(STATUS, view())
    field = SettingField("upstreams", FieldKind.LIST, value=[])
    assert backend.setting_fields("magicdns") == ()
    backend.fields_of = lambda plugin: (field,) if plugin == "magicdns" else ()
    assert backend.setting_fields("magicdns") == (field,)
    assert await backend.change_settings("magicdns", {"upstreams": ["9.9.9.9"]}) == ()
    change = PrefsPatch(plugins={"magicdns": {"upstreams": ["9.9.9.9"]}}, confirm_within_s=60.0)
    assert gateway.asked == [change]


async def test_fail__form_with_a_wrong_setting_says_which(
    backend: PluginBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = backend.gateway = MemoryBackend(STATUS, view())
    error = ConfigError("plugins.x.a[1]: is no prefix", mend="write one", key="plugins.x.a[1]")

    async def refuse(patch: PrefsPatch) -> PrefsView:
        raise error

    monkeypatch.setattr(gateway, "set_prefs", refuse)
    problem = SettingProblem("a[1]", "a[1]: is no prefix", "write one")
    assert await backend.change_settings("x", {"a": ["", "y"]}) == (problem,)


async def test_ok__button_that_runs_a_command(backend: PluginBackend) -> None:
    gateway = backend.gateway = MemoryBackend(STATUS, view())
    ran: list[tuple[str, str, tuple[str, ...]]] = []

    async def panels() -> tuple[PluginPanel, ...]:
        return (PluginPanel("wake_on_lan", Panel("t", actions=(PanelAction("Wake nas", command=("wake", "nas")),))),)

    async def run(plugin: str, command: str, arguments: tuple[str, ...]) -> CommandReply:
        ran.append((plugin, command, arguments))
        return CommandReply("too many wishes wait", ok=len(ran) == 1)

    with pytest.raises(ApplianceError, match="starting"):
        await backend.run_command("wake_on_lan", "wake", ())
    backend.all_panels, backend.run_command = panels, run
    await backend.act("wake_on_lan", "Wake nas")
    assert ran == [("wake_on_lan", "wake", ("nas",))]
    assert gateway.asked == [], "no setting is on trial"
    with pytest.raises(ApplianceError, match="too many wishes"):
        await backend.act("wake_on_lan", "Wake nas")


async def test_fail__group_that_is_not_of_one_network(backend: PluginBackend) -> None:
    backend._links = SimpleNamespace(lans=lambda: (Lan("lan0", "192.168.10.0/24", "192.168.10.1"),))  # type: ignore[assignment]  # enough of it
    with pytest.raises(ConfigError, match="no network") as caught:
        backend.join_group("waypost0", "224.0.0.251", 5353)
    assert caught.value.mend == "attached are: lan0"
    for group in ("239.255.255.250", "ff05::2", "192.0.2.1", "x"):
        with pytest.raises(ConfigError, match="no group of one network"):
            backend.join_group("lan0", group, 5353)
    with pytest.raises(ApplianceError, match="starting"):
        await backend.wake("00:1a:2b:3c:4d:5e", "", "")


def test_fail__before_the_gateway_stands(backend: PluginBackend) -> None:
    with pytest.raises(ApplianceError, match="starting"):
        backend.status()
    assert backend.whois("100.64.0.1") is None
    assert backend.whois("nonsense") is None
    with pytest.raises(ApplianceError, match="not connected"):
        backend.listen("page", ListenPlace(ListenScope.TAILNET, 80))


def test_ok__grants_of_peers_and_of_this_node_itself(backend: PluginBackend) -> None:
    assert backend.granted("n2") == (), "not connected"
    nodes = {
        number: Node(
            NodeId(number),
            StableNodeId(f"n{number}"),
            f"n{number}.mesh.",
            NodePublicKey(bytes([number]) * 32),
            addresses=(ip_network(f"100.64.0.{number}/32"),),
        )
        for number in (1, 2)
    }
    rule = FilterRule(("100.64.0.1-100.64.0.2",), cap_grants=(CapGrant((ip_network("100.64.0.1/32"),), {"x": ()}),))
    view = SimpleNamespace(
        self_node=nodes[1],
        users={},
        filter_rules=(rule,),
        peer_by_stable_id=lambda name: nodes[2] if name == "n2" else None,
        peer_by_address=lambda _address: nodes[2],
    )
    backend._situation.view = view  # type: ignore[assignment]  # a part of it
    assert [backend.granted(name) for name in ("n1", "n2", "n3")] == [("x",), ("x",), ()]


LANS = (Lan("lan0", "192.168.10.0/24", "192.168.10.1"), Lan("lan0", "fd00:10::/64", "fd00:10::1"))


@pytest.mark.parametrize("address", ["192.168.99.1", "192.168.10.1", "fd00::9", "fd00:10::1", "169.254.1.1", "router"])
def test_fail__address_that_cannot_be_shared(backend: PluginBackend, address: str) -> None:
    """Of no network of the interface, the host's own, or none."""
    backend._links = SimpleNamespace(lans=lambda: LANS)  # type: ignore[assignment]  # enough of it
    with pytest.raises(ApplianceError, match="cannot be shared"):
        backend.hold_address(address, "lan0", 5)


@pytest.mark.parametrize("address", ["192.168.10.254", "fd00:10::fe", "fe80::fe"])
def test_ok__address_that_can_be_shared(backend: PluginBackend, address: str) -> None:
    """The interface is none of this host, which the driver says; one without a network is refused before."""
    backend._links = SimpleNamespace(lans=lambda: LANS)  # type: ignore[assignment]  # enough of it
    with pytest.raises(SharedAddressError, match="cannot hold"):
        backend.hold_address(address, "lan0", 5)
    with pytest.raises(ApplianceError, match="cannot be shared"):
        backend.hold_address(address, "lan1", 5)
    backend._links = SimpleNamespace(lans=tuple)  # type: ignore[assignment]  # nothing is attached any more
    backend.drop_address(address, "lan0")
    backend.drop_address("router", "lan0")


async def test_ok__what_cannot_be_reached_is_none(backend: PluginBackend) -> None:
    assert await backend.reach("no address", 0.1) is None
    assert await backend.examine() == (), "before there is a doctor"


@pytest.mark.parametrize(
    ("chosen", "version", "services", "url"),
    [
        ("n2", 26, (("peerapi4", 40000, ""),), "http://100.64.0.2:40000/dns-query"),
        ("n2", 25, (("peerapi4", 40000, ""),), ""),
        ("n2", 25, (("peerapi4", 40000, ""), ("peerapi-dns-proxy", 1, "")), "http://100.64.0.2:40000/dns-query"),
        ("n2", 26, (), ""),
        ("n9", 26, (), ""),
        ("", 26, (("peerapi4", 40000, ""),), ""),
    ],
)
def test_ok__resolver_of_the_exit_in_use(
    backend: PluginBackend, chosen: str, version: int, services: tuple[tuple[str, int, str], ...], url: str
) -> None:
    key = NodePublicKey(bytes(32))
    own = Node(NodeId(1), StableNodeId("n1"), "own", key, addresses=(ip_network("100.64.0.1/32"),))
    peer = Node(
        NodeId(2),
        StableNodeId("n2"),
        "peer",
        key,
        addresses=(ip_network("100.64.0.2/32"),),
        capability_version=version,
        services=services,
    )
    found = {"n2": peer}
    backend._situation.view = SimpleNamespace(self_node=own, peer_by_stable_id=found.get)  # type: ignore[assignment]  # as much of a view as is looked at
    backend.exit_in_use = lambda: chosen
    assert backend.exit_resolver() == url
    assert backend.capability("none") == ()


async def test_ok__figures_of_shapes_are_the_routers(backend: PluginBackend) -> None:
    assert await backend.shape_traffic() == {}

    async def read() -> Mapping[str, QueueTraffic]:
        return {"gateway-b": QueueTraffic(sent_bytes=1500)}

    backend.read_shapes = read
    assert await backend.shape_traffic() == {"gateway-b": QueueTraffic(sent_bytes=1500)}


@pytest.mark.parametrize(
    ("guard", "shielded"), [(None, False), (EgressGuard(site=True), False), (EgressGuard(gateway_direct=True), True)]
)
def test_ok__questions_of_the_site_stay_inside(
    backend: PluginBackend, guard: EgressGuard | None, shielded: bool
) -> None:
    backend.egress_guard = lambda: guard
    assert backend.site_shielded() is shielded
