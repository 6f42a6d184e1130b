"""Sessions go to the kernel and come back from it; where it refuses, the socket does all and status says why."""

import asyncio
import json

import pytest

from appliance.api import PairTraffic, RelayPair
from appliance.api.testing import FakeHost
from appliance.ports.kernel_relay import KernelRelayError
from appliance.proto.peer_relay import STEADY_LIFETIME_S
from appliance.types.addresses import AddrPort
from appliance.types.keys import DiscoPublicKey
from plugins.peer_relay.config import PeerRelayConfig
from plugins.peer_relay.kernel import NOT_LISTENING, RETRY_TICKS, SWITCHED_OFF, TICK_S, KernelService
from plugins.peer_relay.metrics import metrics
from plugins.peer_relay.panel import panel, status_text
from plugins.peer_relay.relay import Relay

A, B, B6 = AddrPort("192.0.2.1", 1), AddrPort("192.0.2.2", 2), AddrPort("2001:db8::2", 3)


class Running:
    def __init__(self):
        self.host = FakeHost("peer_relay")
        self.relay = Relay(PeerRelayConfig(), clock=self.host.time.now)
        self.service = KernelService(self.host, self.relay)

    def session(self, first, second):
        number = len(self.relay.server) + 1
        keys = DiscoPublicKey(bytes([number]) * 32), DiscoPublicKey(bytes([number + 100]) * 32)
        made = self.relay.server.allocate("n", keys, self.relay.clock())
        made.legs[0].bound, made.legs[1].bound = first, second
        return made

    async def tick(self, count=1):
        for _ in range(int(count)):
            await self.host.time.pass_time(TICK_S)

    @property
    def kernel(self):
        return self.host.kernel_relays[-1]

    @property
    def told(self):
        return json.loads(status_text(self.relay, as_json=True))["kernel"]


@pytest.fixture
async def running():
    made = Running()
    task = asyncio.ensure_future(made.service.run())
    await made.host.time.pass_time(0)
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert all(kernel.closed for kernel in made.host.kernel_relays)
    assert made.relay.kernel.reason == NOT_LISTENING


@pytest.fixture
async def serving(running):
    running.relay.ports = (AddrPort("0.0.0.0", 41642), AddrPort("::", 41642))
    await running.tick()
    return running


async def test_ok__nothing_before_the_port_is_open(running):
    await running.tick()
    assert running.host.kernel_relays == []
    assert running.told == {"on": False, "reason": NOT_LISTENING, "sessions": 0, "packets": 0, "bytes": 0}


async def test_ok__bound_sessions_are_served_and_others_are_not(serving):
    both = serving.session(A, B)
    serving.session(A, None)
    serving.session(A, B6)
    await serving.tick()
    assert serving.kernel.port == 41642
    assert serving.kernel.pairs == {both.vni: RelayPair(A, B)}
    assert (serving.told["on"], serving.told["sessions"]) == (True, 1)
    serving.relay.server.close_owned("n")
    await serving.tick()
    assert serving.kernel.pairs == {}


async def test_ok__what_the_kernel_saw_counts_and_keeps_a_session_alive(serving):
    session = serving.session(A, B)
    await serving.tick()
    now = serving.relay.clock()
    serving.kernel.traffic = {session.vni: PairTraffic(10, 1000, 2, now, now - 1)}
    await serving.tick()
    assert (session.packets, session.bytes) == (10, 1000)
    assert [leg.last_seen for leg in session.legs] == [now, now - 1]
    assert serving.relay.forwarder.counters["over_rate"] == 2
    assert serving.relay.forwarded == (10, 1000)
    samples = {(each.name, each.labels.get("transport_in")): each.value for each in metrics(serving.relay)}
    assert samples["waypost_peer_relay_forwarded_packets_total", "udp4"] == 10
    assert samples["waypost_peer_relay_kernel_bytes_total", None] == 1000
    serving.relay.server.close_owned("n")
    serving.kernel.traffic = {session.vni: PairTraffic(1, 50)}
    await serving.tick()
    assert serving.relay.forwarded == (11, 1050), "also what it forwarded until the end"


async def test_ok__a_session_that_only_the_kernel_sees_lives_on_and_ends_when_it_falls_silent(serving):
    session = serving.session(A, B)
    for leg in session.legs:
        leg.last_seen = serving.relay.clock()
    await serving.tick(STEADY_LIFETIME_S - 10)
    now = serving.relay.clock()
    serving.kernel.traffic = {session.vni: PairTraffic(1, 100, 0, now, now)}
    await serving.tick(60)
    serving.relay.server.handle_timer(serving.relay.clock())
    assert len(serving.relay.server) == 1
    await serving.tick(STEADY_LIFETIME_S)
    serving.relay.server.handle_timer(serving.relay.clock())
    await serving.tick()
    assert len(serving.relay.server) == 0
    assert serving.kernel.pairs == {}


async def test_ok__a_side_with_a_new_address_is_the_socket_s_until_told_anew(serving):
    session = serving.session(A, B)
    await serving.tick()
    serving.relay.forwarder._on_bound(session.vni)
    assert serving.kernel.forgotten == [session.vni]
    assert serving.kernel.pairs == {}


async def test_ok__a_rate_goes_along(serving):
    session = serving.session(A, B)
    serving.relay.configure(PeerRelayConfig(max_mbit_per_pair=8))
    await serving.tick()
    assert serving.kernel.pairs[session.vni].bytes_per_s == 1_000_000


async def test_ok__switched_off_and_on_while_it_runs(serving):
    serving.relay.configure(PeerRelayConfig(kernel=False))
    await serving.tick()
    assert serving.kernel.closed
    assert serving.told["reason"] == SWITCHED_OFF
    serving.relay.configure(PeerRelayConfig())
    await serving.tick()
    assert len(serving.host.kernel_relays) == 2
    assert serving.told["on"]


async def test_fail__a_kernel_that_refuses_is_asked_again_later(running):
    running.host.refuse_kernel_relay = KernelRelayError("the kernel refuses the program: Invalid argument")
    running.relay.ports = (AddrPort("0.0.0.0", 41642),)
    await running.tick()
    assert running.told["reason"] == "the kernel refuses the program: Invalid argument"
    rows = {row.label: (row.value, row.detail) for row in panel(running.relay).rows}
    assert rows["Forwarding"][0] == "in the daemon"
    assert "Invalid argument" in status_text(running.relay, as_json=False)
    running.host.refuse_kernel_relay = None
    await running.tick(RETRY_TICKS - 2)
    assert not running.told["on"]
    await running.tick(3)
    assert running.told["on"]


async def test_fail__a_kernel_that_gives_up_later(serving):
    serving.session(A, B)
    serving.kernel.refuse_with = KernelRelayError("the kernel forwards no longer")
    await serving.tick()
    assert serving.kernel.closed
    assert serving.told["reason"] == "the kernel forwards no longer"
    assert [event for _, event, _ in serving.host.lines] == ["in_kernel", "not_in_kernel"]
