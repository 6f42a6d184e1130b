"""The service on a fake host: ports, addresses by STUN, grants that end, a changed port."""

import asyncio

import pytest

from appliance.api.testing import FakeHost
from appliance.ports.packets import one
from appliance.proto.stun import encode_response, parse_request
from appliance.types.addresses import AddrPort
from appliance.types.keys import DiscoPublicKey
from plugins.peer_relay.config import PeerRelayConfig
from plugins.peer_relay.relay import Relay
from plugins.peer_relay.service import GRANTS_EVERY, RELAY_GRANT, TICK_S, RelayService

STUN = AddrPort("203.0.113.1", 3478)


class Running:
    def __init__(self):
        self.host = FakeHost("peer_relay")
        self.host.own_addresses = ("192.168.1.2",)
        self.host.stun = (str(STUN),)
        self.relay = Relay(PeerRelayConfig(), clock=self.host.time.now)
        self.service = RelayService(self.host, self.relay)

    async def ticks(self, count=1):
        for _ in range(count):
            await self.host.time.pass_time(TICK_S)

    @property
    def v4(self):
        return next(port for port in reversed(self.host.udp_ports) if not port.local.is_v6)


@pytest.fixture
async def running():
    made = Running()
    task = asyncio.ensure_future(made.service.run())
    await made.host.time.pass_time(0)
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert all(port.closed for port in made.host.udp_ports)


async def test_ok__own_addresses_at_once_and_stun_s_answer_next(running):
    assert running.relay.addresses == (AddrPort("192.168.1.2", 41642),)
    to, batch = running.v4.sent[0]
    assert to == STUN
    seen = AddrPort("198.51.100.1", 5555)
    running.v4.deliver(STUN, one(encode_response(parse_request(bytes(batch.buffer)), seen)))
    running.v4.deliver(STUN, one(encode_response(b"f" * 12, AddrPort("198.51.100.9", 1))))
    await running.ticks()
    assert running.relay.addresses == (seen, AddrPort("192.168.1.2", 41642))


async def test_fail__an_answer_from_elsewhere_is_not_believed(running):
    _, batch = running.v4.sent[0]
    forged = encode_response(parse_request(bytes(batch.buffer)), AddrPort("198.51.100.1", 5555))
    running.v4.deliver(AddrPort("203.0.113.9", 3478), one(forged))
    await running.ticks()
    assert running.relay.addresses == (AddrPort("192.168.1.2", 41642),)


async def test_ok__a_node_that_lost_its_grant_loses_its_sessions(running):
    for owner, number in (("n2", 1), ("n3", 3)):
        keys = DiscoPublicKey(bytes([number]) * 32), DiscoPublicKey(bytes([number + 1]) * 32)
        running.relay.server.allocate(owner, keys, running.host.time.now())
    running.host.grants = {"n2": (RELAY_GRANT,)}
    await running.ticks(GRANTS_EVERY + 1)
    assert running.relay.server.owners() == {"n2"}


async def test_ok__another_port_is_taken_without_a_restart(running):
    before = running.v4
    running.relay.configure(PeerRelayConfig(port=7777, stun=False))
    await running.ticks(2)
    assert before.closed
    assert running.relay.addresses == (AddrPort("192.168.1.2", 7777),)
    assert running.v4.sent == [], "STUN is off"


async def test_ok__unbound_sessions_end_with_time(running):
    keys = DiscoPublicKey(b"a" * 32), DiscoPublicKey(b"b" * 32)
    running.relay.server.allocate("n2", keys, running.host.time.now())
    running.host.grants = {"n2": (RELAY_GRANT,)}
    await running.ticks(65)
    assert len(running.relay.server) == 0
