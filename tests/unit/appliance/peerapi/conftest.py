"""A peer API on loopback: we are 127.0.0.1, our peer 127.0.0.2, strangers are any other loopback address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest

from appliance.drivers.listeners import open_listener
from appliance.netmap.store import NetmapStore
from appliance.peerapi.caller import identify
from appliance.peerapi.pages import add_pages
from appliance.peerapi.routes import PeerRoutes
from appliance.peerapi.server import PeerApiServer
from appliance.proto.control import messages as wire
from appliance.types.addresses import Address, AddrPort
from appliance.types.keys import NodePublicKey

US, PEER, STRANGER = ip_address("127.0.0.1"), "127.0.0.2", "127.0.0.3"
DEBUG = "https://tailscale.com/cap/debug"


def wire_node(number: int, address: str, **changes: Any) -> wire.Node:
    values: dict[str, Any] = {
        "id": number,
        "stable_id": f"n{number}",
        "name": f"gw{number}.mesh.test.",
        "user": number,
        "key": str(NodePublicKey(bytes([number]) * 32)),
        "addresses": [f"{address}/32"],
        "allowed_ips": [f"{address}/32"],
        "machine_authorized": True,
    }
    return wire.Node(**{**values, **changes})


def full_map(own: wire.Node, peer: wire.Node, rules: list[wire.FilterRule] | None = None) -> wire.MapResponse:
    users = [wire.UserProfile(id=number, login_name=f"user{number}") for number in (1, 2)]
    return wire.MapResponse(node=own, peers=[peer], user_profiles=users, packet_filter=rules or [])


@dataclass
class World:
    """`ask` speaks raw HTTP, so that nothing is put right on the way."""

    store: NetmapStore = field(default_factory=NetmapStore)
    routes: PeerRoutes = field(default_factory=PeerRoutes)
    shields_up: bool = False
    server: PeerApiServer = field(init=False)

    def __post_init__(self) -> None:
        self.server = PeerApiServer(self.routes, self.who, lambda address, _port: open_listener(address, 0))
        add_pages(self.routes, version="1.2.3", metrics=lambda: "waypost_peers 1\n")
        self.set_map(full_map(wire_node(1, str(US)), wire_node(2, PEER)))

    def who(self, source: AddrPort) -> Any:
        return identify(self.store.view, source, shields_up=self.shields_up)

    def set_map(self, response: wire.MapResponse) -> None:
        self.store.begin_stream()
        self.store.apply(response, datetime(2026, 1, 1, tzinfo=UTC))

    async def connect(self, source: str = PEER, to: Address = US) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = next(item.port for item in self.server.endpoints if item.ip == str(to))
        return await asyncio.open_connection(str(to), port, local_addr=(source, 0))

    async def ask(
        self, path: str = "/", source: str = PEER, method: str = "GET", host: str = "peer", headers: str = ""
    ) -> tuple[int, str]:
        """Status and everything that came; 0 = cut off without a byte."""
        reader, writer = await self.connect(source)
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n".encode())
            answer = await reader.read()
        except ConnectionError:
            answer = b""
        finally:
            writer.close()
        return (int(answer.split()[1]), answer.decode()) if answer else (0, "")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    assert await made.server.listen([US]) == ()
    yield made
    await made.server.close()
