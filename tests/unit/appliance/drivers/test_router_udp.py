"""Sockets toward the router, on the loopback."""

from __future__ import annotations

import asyncio

from appliance.drivers.router_udp import open_router_ports
from appliance.drivers.udp import open_udp_ports
from appliance.ports.packets import one
from appliance.types.addresses import AddrPort


async def test_ok__asks_and_hears_the_answer() -> None:
    asking, *listening = open_router_ports()
    router = open_udp_ports(0)
    heard = asyncio.Event()

    def answer() -> None:
        for _ in router[0].receive():
            router[0].send(AddrPort("127.0.0.1", asking.local.port), one(b"answer"))

    try:
        asking.set_reader(heard.set)
        asking.send(AddrPort("127.0.0.1", router[0].local.port), one(b"question"))
        router[0].set_reader(answer)
        await heard.wait()
        ((source, batch),) = asking.receive()
        assert (bytes(batch.buffer), source.port) == (b"answer", router[0].local.port)
        assert all(port.local == AddrPort("224.0.0.1", 5350) for port in listening)
    finally:
        for port in (asking, *listening, *router):
            port.close()


def test_ok__several_programs_share_the_port_of_announcements() -> None:
    opened = [*open_router_ports(), *open_router_ports()]
    try:
        assert len(opened) == 4
    finally:
        for port in opened:
            port.close()
