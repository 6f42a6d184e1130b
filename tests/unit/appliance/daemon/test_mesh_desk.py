"""Who has an address, and sockets of the mesh; the mesh here is the loopback."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from appliance.daemon.mesh_desk import DialError, MeshDesk
from appliance.daemon.peer_lookup import NoSuchPeerError, NotConnectedError
from appliance.drivers.sockets import open_socket
from appliance.localapi.mesh_schema import DialRequest, ListenRequest
from appliance.netmap.store import NetmapStore
from appliance.proto.control import messages as wire
from appliance.types.errors import ConfigError
from tests.unit.appliance.netmap.conftest import node


def desk_of(**changes: Any) -> MeshDesk:
    store = NetmapStore()
    store.begin_stream()
    peers = [node(2, addresses=["127.0.0.2/32", "fd7a::2/128"], **changes)]
    own = node(1, addresses=["127.0.0.1/32", "::1/128"])
    store.apply(wire.MapResponse(node=own, peers=peers), datetime(2026, 1, 1, tzinfo=UTC))
    return MeshDesk(lambda: store.view, open_socket, lambda: False)


@pytest.mark.parametrize("text", ["127.0.0.2", "127.0.0.2:4711", "fd7a::2", "[fd7a::2]:80"])
def test_ok__whois(text: str) -> None:
    found = desk_of(tags=["tag:db"]).whois(text)
    assert (found.name, found.addresses, found.tags) == ("node2.net.example", ("127.0.0.2", "fd7a::2"), ("tag:db",))
    assert found.user == ""


def test_fail__whois() -> None:
    with pytest.raises(NoSuchPeerError):
        desk_of().whois("192.0.2.1")
    with pytest.raises(ConfigError, match="is no IP address"):
        desk_of().whois("nobody")
    with pytest.raises(NotConnectedError):
        MeshDesk(lambda: None, open_socket, lambda: False).whois("127.0.0.2")


async def test_ok__listen_and_dial_by_name() -> None:
    desk = desk_of()
    with await desk.hand_out(ListenRequest(port=0, address="::1")) as six:
        assert six.getsockname()[0] == "::1"
    with await desk.hand_out(ListenRequest(port=0)) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        port = listener.getsockname()[1]
        with await desk.hand_out(DialRequest(host="node1", port=port)) as stream:
            accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
            accepted.close()
            assert not stream.getblocking()


async def test_fail__each_refusal_is_named() -> None:
    desk = desk_of()
    with await desk.hand_out(ListenRequest(port=0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DialError, match="cannot reach"):
        await desk.hand_out(DialRequest(host="127.0.0.1", port=port))
    with pytest.raises(NoSuchPeerError):
        await desk.hand_out(DialRequest(host="nobody", port=1))
    with pytest.raises(ConfigError, match="no address of this node"):
        await desk.hand_out(ListenRequest(port=0, address="192.0.2.1"))
    with pytest.raises(ConfigError, match="is no port"):
        await desk.hand_out(ListenRequest(port=70000))
