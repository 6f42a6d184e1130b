"""The kernel engine beside raw sockets, where nftables does not split the port: run inside the guest (`make qemu`)."""

from __future__ import annotations

import socket

import pytest

from appliance.types.addresses import AddrPort
from tests.qemu.guest.case_engine import (  # the same on both ways of splitting the port
    DISCO,
    STUN,
    direct,
    test_ok__close_removes_everything,
    test_ok__direct_traffic_never_passes_this_process,
    test_ok__killed_process_leaves_the_stream_and_its_successor_takes_over,
    test_ok__peer_relay_wraps_in_geneve,
    test_ok__roaming_is_followed_and_reported,
    test_ok__switching_under_a_stream_loses_nothing,
    test_ok__what_is_not_wireguard_comes_with_its_true_source,
)
from tests.qemu.guest.world import PORT, World, inside, ping, until

__all__ = [
    "test_ok__close_removes_everything",
    "test_ok__direct_traffic_never_passes_this_process",
    "test_ok__killed_process_leaves_the_stream_and_its_successor_takes_over",
    "test_ok__peer_relay_wraps_in_geneve",
    "test_ok__roaming_is_followed_and_reported",
    "test_ok__switching_under_a_stream_loses_nothing",
    "test_ok__what_is_not_wireguard_comes_with_its_true_source",
]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def refused_rules(world: World) -> None:
    world.a.steers = world.b.steers = False


async def test_ok__nothing_of_this_host_or_of_the_tunnel_is_taken_for_path_finding(world: World) -> None:
    a, b = await world.up()
    assert (b.engine.steering_refused, b.engine.inner_port) == ("this kernel has no fib", 0)
    direct(a, b)
    assert await ping(a, b.v4)
    for host, to in ((a.host, (b.v4, PORT)), (b.host, ("127.0.0.1", PORT)), (a.host, (b.addr.ip, PORT))):
        with inside(host), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(STUN if to[0] == b.addr.ip else DISCO, to)
        assert await ping(a, b.v4, 1), "what came before has come now"
    await until(lambda: bool(b.sink.datagrams))
    assert [datagram for _, datagram in b.sink.datagrams] == [STUN]


async def test_ok__path_finding_goes_on_at_another_port_of_the_device(world: World) -> None:
    a, b = await world.up()
    a.engine.rebind(9999)
    for to in (b.addr, b.addr6):
        a.engine.send_datagrams([(to, DISCO)])
    await until(lambda: len(b.sink.datagrams) == 2)
    for source, _ in b.sink.datagrams:
        assert source.port == 9999
        b.engine.send_datagrams([(source, STUN)])
    await until(lambda: len(a.sink.datagrams) == 2)
    b.engine.send_datagrams([(AddrPort(a.addr.ip, PORT), DISCO), (AddrPort(a.addr.ip, 9999), DISCO)])
    await until(lambda: len(a.sink.datagrams) == 3)


async def test_ok__raw_sockets_and_rules_meet(world: World) -> None:
    world.b.steers = True
    a, b = await world.up()
    a.engine.send_datagrams([(b.addr, DISCO)])
    b.engine.send_datagrams([(a.addr, STUN)])
    await until(lambda: bool(a.sink.datagrams and b.sink.datagrams))
    assert (a.sink.datagrams, b.sink.datagrams) == ([(b.addr, STUN)], [(a.addr, DISCO)])
    direct(a, b)
    assert await ping(b, a.v6)
