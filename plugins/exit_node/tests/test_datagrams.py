"""Users' UDP through a SOCKS5 proxy on real sockets; the twin plays the firewall (tests/lab/test_exit_uplink.py)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from appliance.api.testing import FakeHost
from appliance.ports.exit_datagrams import MemoryExitDatagrams
from appliance.types.addresses import AddrPort
from plugins.exit_node.associations import IDLE_S, MAX_WAITING, RETRY_S
from plugins.exit_node.datagrams import MAX_ASKED, SWEEP_S, DatagramForwarder
from plugins.exit_node.proto import encode_datagram_head
from plugins.exit_node.tests.socks_server import SocksServer, socks_server, until

USER, OTHER = AddrPort("100.64.0.9", 5000), AddrPort("100.64.0.9", 5001)
GOAL, GOAL_V6 = AddrPort("203.0.113.2", 443), AddrPort("2001:db8::2", 443)
USER_V6 = AddrPort("fd7a:115c:a1e0::9", 5000)


class Rig:
    def __init__(
        self, host: FakeHost, server: SocksServer, taken: MemoryExitDatagrams, forwarder: DatagramForwarder
    ) -> None:
        self.host, self.server, self.taken, self.forwarder = host, server, taken, forwarder

    async def until(self, true: Callable[[], object], *, passing_s: float = 0.0) -> None:
        await until(true, (lambda: self.host.time.pass_time(passing_s)) if passing_s else None)


@asynccontextmanager
async def carrying(host: FakeHost) -> AsyncIterator[Rig]:
    taken = MemoryExitDatagrams()
    async with socks_server() as (server, proxy):
        forwarder = DatagramForwarder(host, taken, proxy)
        task = asyncio.ensure_future(forwarder.run())
        try:
            await asyncio.sleep(0)
            yield Rig(host, server, taken, forwarder)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_ok__there_and_back_in_both_ip_versions(fake_host: FakeHost) -> None:
    async with carrying(fake_host) as rig:
        rig.taken.take(USER, GOAL, b"one")
        rig.taken.take(USER, GOAL, b"two")
        rig.taken.take(USER_V6, GOAL_V6, b"three")
        await rig.until(lambda: len(rig.taken.answered) == 3)
        answers = [(GOAL, USER, b"one"), (GOAL, USER, b"two"), (GOAL_V6, USER_V6, b"three")]
        assert sorted(rig.taken.answered) == sorted(answers)
        rig.taken.take(USER, AddrPort("203.0.113.3", 443), b"four")
        await rig.until(lambda: len(rig.taken.answered) == 4)
        assert (rig.server.made, rig.forwarder.associations, rig.forwarder.lost) == (2, 2, 0)


async def test_ok__an_idle_association_is_given_up(fake_host: FakeHost) -> None:
    async with carrying(fake_host) as rig:
        rig.taken.take(USER, GOAL, b"one")
        await rig.until(lambda: rig.taken.answered)
        await rig.until(lambda: not rig.forwarder.associations, passing_s=IDLE_S / 4)
        await rig.until(lambda: not rig.server.associations)
        rig.taken.take(USER, GOAL, b"two")
        await rig.until(lambda: len(rig.taken.answered) == 2)
        assert rig.server.made == 2


async def test_ok__a_proxy_that_ends_an_association_gets_another_one_later(fake_host: FakeHost) -> None:
    async with carrying(fake_host) as rig:
        rig.taken.take(USER, GOAL, b"one")
        await rig.until(lambda: rig.taken.answered)
        for writer in rig.server.associations:
            writer.close()
        await rig.until(lambda: not rig.server.associations)

        def asked_again() -> bool:
            rig.taken.take(USER, GOAL, b"again")
            return len(rig.taken.answered) > 1

        await rig.until(asked_again, passing_s=SWEEP_S)
        assert rig.server.made == 2


async def test_fail__a_proxy_that_refuses_is_not_asked_for_each_datagram(fake_host: FakeHost) -> None:
    async with carrying(fake_host) as rig:
        rig.server.refusal = 7
        for number in range(MAX_WAITING + 4):
            rig.taken.take(USER, GOAL, b"%d" % number)
        assert rig.forwarder.lost == 4, "more cannot wait"
        await rig.until(lambda: rig.forwarder.lost == MAX_WAITING + 4)
        rig.taken.take(USER, GOAL, b"lost too")
        assert rig.forwarder.lost == MAX_WAITING + 5
        await rig.until(lambda: not rig.forwarder.associations, passing_s=RETRY_S)
        rig.server.refusal = 0
        rig.taken.take(USER, GOAL, b"granted")
        await rig.until(lambda: rig.taken.answered)


async def test_fail__answers_of_strangers_and_nonsense(fake_host: FakeHost) -> None:
    async with carrying(fake_host) as rig:
        strange = encode_datagram_head(AddrPort("100.64.0.1", 22)) + b"boo"
        rig.server.answers = lambda data: [strange, b"\0\0\7nonsense", b"\0", data]  # type: ignore[method-assign]  # scripted
        rig.taken.take(USER, GOAL, b"one")
        await rig.until(lambda: rig.taken.answered)
        assert rig.taken.answered == [(GOAL, USER, b"one")]
        assert rig.forwarder.lost == 3


async def test_fail__what_is_for_the_forwarder_itself_goes_nowhere(fake_host: FakeHost) -> None:
    async with carrying(fake_host) as rig:
        rig.taken.take(AddrPort("127.0.0.1", 9), AddrPort("127.0.0.1", 40001), b"x")
        rig.taken.take(OTHER, GOAL, b"one")
        await rig.until(lambda: rig.taken.answered)
        assert rig.forwarder.associations == 1


async def test_fail__a_flood_does_not_flood_the_proxy(fake_host: FakeHost) -> None:
    async with carrying(fake_host) as rig:
        for port in range(MAX_ASKED + 10):
            rig.taken.take(AddrPort(USER.ip, 1024 + port), GOAL, b"x")
        assert (rig.forwarder.associations, rig.forwarder.lost) == (MAX_ASKED, 10)
        await rig.until(lambda: len(rig.taken.answered) == MAX_ASKED)
        rig.taken.take(OTHER, GOAL, b"later")
        await rig.until(lambda: rig.taken.answered[-1] == (GOAL, OTHER, b"later"))
