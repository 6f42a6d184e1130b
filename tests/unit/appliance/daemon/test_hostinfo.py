from __future__ import annotations

from pathlib import Path

from appliance.api.values import HostinfoPart, HostinfoService, Location
from appliance.daemon.hostinfo import host_facts, machine_name, make_hostinfo, parse_os_release
from appliance.proto.control import messages as wire
from appliance.state.profiles import Prefs
from appliance.types.keys import MachinePublicKey

MACHINE = MachinePublicKey(bytes(range(32)))


def test_ok__facts_hold_what_a_server_needs(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text('ID=debian\nVERSION_ID="12"\n# comment\nVERSION_CODENAME=bookworm\n')
    facts = host_facts(MACHINE, release)
    assert (facts.os, facts.distro, facts.distro_version, facts.distro_codename) == (
        "linux",
        "debian",
        "12",
        "bookworm",
    )
    assert len(facts.backend_log_id) == 64
    assert facts.backend_log_id == host_facts(MACHINE, release).backend_log_id
    assert facts.hostname


def test_ok__missing_os_release_is_empty(tmp_path: Path) -> None:
    assert parse_os_release(tmp_path / "none") == {}


def test_ok__preferences_go_before_configuration_before_the_machine() -> None:
    facts = wire.Hostinfo(hostname="machine")
    none = HostinfoPart()
    assert make_hostinfo(facts, Prefs(), "", (), none, None).hostname == "machine"
    assert make_hostinfo(facts, Prefs(), "file", (), none, None).hostname == "file"
    assert make_hostinfo(facts, Prefs(hostname="set"), "file", (), none, None).hostname == "set"


def test_ok__plugins_add_services_routes_and_known_flags() -> None:
    part = HostinfoPart((HostinfoService("tcp", 80, "web"),), ("ssh-ed25519 A",), {"PeerRelay": True, "Nonsense": True})
    info = make_hostinfo(wire.Hostinfo(), Prefs(advertise_tags=("tag:x",)), "", ("10.0.0.0/8",), part, None)
    assert info.peer_relay
    assert info.routable_ips == ["10.0.0.0/8"]
    assert info.request_tags == ["tag:x"]
    assert (info.services[0].port, info.ssh_host_keys) == (80, ["ssh-ed25519 A"])


def test_ok__a_plugin_says_where_the_node_is() -> None:
    part = HostinfoPart(location=Location("Germany", "DE", "Berlin", "BER", 52.5, 13.4, 7))
    info = make_hostinfo(wire.Hostinfo(), Prefs(), "", (), part, None)
    assert info.location == wire.Location(
        country="Germany", country_code="DE", city="Berlin", city_code="BER", latitude=52.5, longitude=13.4, priority=7
    )
    assert make_hostinfo(wire.Hostinfo(), Prefs(), "", (), HostinfoPart(), None).location is None


def test_ok__machine_name_is_a_label() -> None:
    assert "." not in machine_name()
