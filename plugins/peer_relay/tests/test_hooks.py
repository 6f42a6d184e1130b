"""The plugin as the core sees it: every hook under its contract, first idle, then with a relay that serves."""

import json

import pytest

from appliance.api import HostFacts, NetmapChange, NodeInfo, RelayRequest
from appliance.api.testing import HOOK_CONTRACTS, FakeHost
from appliance.types.addresses import AddrPort
from plugins.peer_relay.config import PeerRelayConfig
from plugins.peer_relay.hooks import PeerRelay

REQUEST = RelayRequest("n2", ("discokey:" + "51" * 32, "discokey:" + "52" * 32))
SELF, PEER = NodeInfo("n1", "relay.net.example"), NodeInfo("n2", "peer.net.example")


def check(hook, plugin, **arguments):
    return HOOK_CONTRACTS[hook](plugin, FakeHost("peer_relay"), **arguments)


@pytest.fixture
def plugin():
    made = PeerRelay()
    check("appliance_configure", made, config=PeerRelayConfig(max_sessions=2))
    check("appliance_netmap_changed", made, change=NetmapChange(True, SELF, (PEER,)))
    made.appliance_netmap_changed(NetmapChange(True, SELF, (PEER,)))
    return made


@pytest.fixture
def serving(plugin):
    plugin._relay.ports = (AddrPort("0.0.0.0", 41642),)
    plugin._relay.addresses = (AddrPort("203.0.113.5", 41642),)
    return plugin


def codes(plugin):
    return [item.code for item in check("appliance_check_health", plugin, facts=HostFacts())]


def status(plugin):
    return json.loads(check("appliance_run_command", plugin, command="status", arguments=("--json",)).text)


def test_ok__idle(plugin):
    assert check("appliance_relay_request", plugin, request=REQUEST) is None
    assert check("appliance_contribute_hostinfo", plugin).flags == {"PeerRelay": True}
    assert [service.name for service in check("appliance_start", plugin)] == ["relay", "kernel"]
    assert codes(plugin) == []
    assert status(plugin)["sessions"] == []


def test_ok__a_request_is_served_and_shown(serving):
    offer = check("appliance_relay_request", serving, request=REQUEST)
    assert offer.addresses == ("203.0.113.5:41642",)
    (session,) = status(serving)["sessions"]
    assert (session["vni"], session["state"], session["asked_by"]) == (offer.vni, "connecting", "peer")
    rows = {row.label: row.value for row in check("appliance_status_panel", serving).rows}
    assert rows["Sessions"] == "0"
    assert rows["UDP port"] == "41642"
    samples = {
        (m.name, m.labels.get("state", m.labels.get("event"))): m.value for m in check("appliance_metrics", serving)
    }
    assert samples["waypost_peer_relay_endpoints", "connecting"] == 1
    assert samples["waypost_peer_relay_events_total", "allocated"] == 1
    assert "41642" in check("appliance_run_command", serving, command="status").text


def test_fail__control_forbids_it(serving):
    serving.appliance_netmap_changed(
        NetmapChange(self_node=NodeInfo("n1", "r", capabilities=("disable-relay-server",)))
    )
    assert check("appliance_relay_request", serving, request=REQUEST) is None
    assert check("appliance_contribute_hostinfo", serving).flags == {"PeerRelay": False}
    assert codes(serving) == ["relay-forbidden"]


def test_fail__health_says_what_is_missing(serving):
    for number in range(2):
        pair = ("discokey:" + f"{number + 1:02x}" * 32, REQUEST.clients[1])
        assert serving.appliance_relay_request(RelayRequest("n2", pair)) is not None
    assert codes(serving) == ["relay-full"]
    assert serving.appliance_relay_request(RelayRequest("n2", ("discokey:" + "99" * 32, REQUEST.clients[1]))) is None
    serving._relay.addresses = ()
    assert codes(serving) == ["relay-unreachable", "relay-full"]


def test_fail__bad_keys_and_bad_arguments(serving):
    assert serving.appliance_relay_request(RelayRequest("n2", ("nokey", "nokey"))) is None
    assert not check("appliance_run_command", serving, command="status", arguments=("--yaml",)).ok
