"""The control client against a scripted server on the real tunnel machine, on a virtual clock."""

from __future__ import annotations

import asyncio

import pytest

from appliance.api.testing import settle
from appliance.crypto.x25519 import clamp, public_key
from appliance.netmap.errors import (
    BadAuthKey,
    ControlRefused,
    ControlUnreachable,
    LoginNeeded,
    NotAControlServer,
    ProtocolError,
)
from appliance.netmap.login import Registered, VisitUrl
from appliance.proto.control import messages as wire
from appliance.proto.control.mapstream import KEEP_ALIVE_ZSTD
from appliance.proto.control.upgrade import encode_key_response
from appliance.proto.http1.head import encode_response
from appliance.types.addresses import AddrPort
from appliance.types.events import BackendState
from appliance.types.ids import NodeId
from appliance.types.keys import DiscoPublicKey, MachinePrivateKey, NodePublicKey
from appliance.types.netmap import Endpoint, EndpointType


async def logged_in(lab, full_map):
    """A running client with one open map stream that has brought its netmap."""
    lab.server.first = lambda opened: opened.send(full_map)
    client = lab.client()
    await client.login("tskey-auth-x")
    await lab.run(client)
    await lab.until(lambda: client.is_connected)
    return client


# --- login


async def test_ok__pre_auth_key(lab) -> None:
    client = lab.client()
    outcome = await client.login("  tskey-auth-x ")
    assert isinstance(outcome, Registered)
    assert outcome.login_name == "ann@example.org"
    request = lab.server.registers[0]
    assert request.auth == wire.Auth(auth_key="tskey-auth-x")
    assert request.version == wire.CAPABILITY_VERSION
    assert NodePublicKey.parse(request.old_node_key).is_zero
    assert request.hostinfo is not None
    assert request.hostinfo.hostname == "gw"
    assert [str(keys.public) for keys in lab.saved] == [request.node_key]
    assert client.keys == lab.saved[0]


async def test_fail__pre_auth_key_is_refused(lab) -> None:
    lab.server.answers = [(200, wire.RegisterResponse(error="invalid pre-auth key"))]
    client = lab.client()
    with pytest.raises(BadAuthKey, match="invalid pre-auth key") as caught:
        await client.login("tskey-auth-x")
    assert "preauthkeys" in caught.value.mend
    assert "tskey" not in caught.value.line()
    assert lab.saved == []
    assert client.keys is None


async def test_fail__refusal_by_status(lab) -> None:
    lab.server.answers = [(401, b"authkey expired")]
    with pytest.raises(BadAuthKey, match="authkey expired"):
        await lab.client().login("tskey-auth-x")


async def test_fail__too_many_requests(lab) -> None:
    lab.server.answers = [(429, b"")]
    with pytest.raises(ControlRefused) as caught:
        await lab.client().login("tskey-auth-x")
    assert 5 <= caught.value.retry_after_s <= 10


async def test_fail__server_error(lab) -> None:
    lab.server.answers = [(500, b"database is locked")]
    with pytest.raises(ControlRefused, match="database is locked"):
        await lab.client().login("tskey-auth-x")


async def test_fail__unreadable_answer(lab) -> None:
    lab.server.answers = [(200, b"<html>")]
    with pytest.raises(ProtocolError, match="unreadable"):
        await lab.client().login("tskey-auth-x")


async def test_ok__interactive_login(lab, full_map) -> None:
    url = "https://control.example/register/abc"
    lab.server.first = lambda opened: opened.send(full_map)
    lab.server.answers = [(200, wire.RegisterResponse(auth_url=url)), (200, wire.RegisterResponse(auth_url=url + "2"))]
    client = lab.client()
    assert await client.login() == VisitUrl(url)
    assert client.auth_url == url
    await lab.run(client)
    await lab.until(lambda: client.is_connected)
    assert [request.followup for request in lab.server.registers] == ["", url, url + "2"]
    assert len({request.node_key for request in lab.server.registers}) == 1
    assert len(lab.saved) == 1
    assert client.auth_url == ""


async def test_ok__login_by_key_cuts_a_visit_off(lab, full_map) -> None:
    lab.server.first = lambda opened: opened.send(full_map)
    lab.server.answers = [(200, wire.RegisterResponse(auth_url="https://c/1")), (200, None)]
    client = lab.client()
    await client.login()
    await lab.run(client)
    await lab.until(lambda: len(lab.server.registers) == 2)
    await client.login("tskey-auth-x")
    await lab.until(lambda: client.is_connected)
    assert lab.server.registers[-1].auth is not None
    assert lab.server.registers[-1].followup == ""


async def test_ok__logout(lab, full_map) -> None:
    client = await logged_in(lab, full_map)
    await client.logout()
    assert lab.server.registers[-1].expiry == wire.LOGOUT_EXPIRY
    await lab.until(lambda: lab.server.maps[0].ended)
    await settle()
    assert client.state is BackendState.NEEDS_LOGIN
    assert client.keys is None
    assert len(lab.server.maps) == 1


# --- restart


async def test_ok__restart_uses_the_stored_key(lab, full_map) -> None:
    lab.server.first = lambda opened: opened.send(full_map)
    keys = lab.make_keys()
    client = lab.client(keys)
    await lab.run(client)
    await lab.until(lambda: client.is_connected)
    assert lab.server.registers[0].node_key == str(keys.public)
    assert lab.server.registers[0].auth is None
    assert lab.states == ["running"]


async def test_fail__stored_key_has_expired(lab, full_map) -> None:
    lab.server.answers = [(200, wire.RegisterResponse(node_key_expired=True))]
    keys = lab.make_keys()
    client = lab.client(keys)
    await lab.run(client)
    await lab.until(lambda: client.state is BackendState.NEEDS_LOGIN)
    await lab.time.pass_time(60)
    assert len(lab.server.registers) == 1
    assert [event.code for event in lab.health] == ["login-state"]
    lab.server.first = lambda opened: opened.send(full_map)
    lab.server.answers = [(200, wire.RegisterResponse(node_key_expired=True))]
    await client.login("tskey-auth-x")
    await lab.until(lambda: client.is_connected)
    assert lab.server.registers[-1].old_node_key == str(keys.public)
    assert lab.server.registers[-1].node_key != str(keys.public)
    assert lab.health[-1].broken is False


async def test_fail__new_key_is_called_expired(lab) -> None:
    expired = (200, wire.RegisterResponse(node_key_expired=True))
    lab.server.answers = [expired, expired]
    with pytest.raises(BadAuthKey, match="just made"):
        await lab.client(lab.make_keys()).login("tskey-auth-x")


async def test_fail__login_needed_without_anything(lab) -> None:
    lab.server.answers = [(200, wire.RegisterResponse(node_key_expired=True))]
    client = lab.client(lab.make_keys())
    with pytest.raises(LoginNeeded):
        await client.login()


# --- reaching the server


async def test_fail__nothing_listens(lab) -> None:
    lab.dialer.servers.clear()
    with pytest.raises(ControlUnreachable, match=r"control\.example:8080") as caught:
        await lab.client().login("k")
    assert "--login-server" in caught.value.mend


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (encode_response(404, b"<html>", "text/html"), "404 Not Found"),
        (encode_response(200, b"<html>hello", "text/html"), "holds no key"),
        (encode_response(302, b"", "text/html", ("Location", "https://other.example/")), "https://other.example/"),
        (encode_response(200, b'{"publicKey":"mkey:' + b"0" * 64 + b'"}'), "holds no key"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not speak HTTP"),
    ],
)
async def test_fail__not_a_control_server(lab, answer: bytes, said: str) -> None:
    lab.server.key_answer = answer
    with pytest.raises(NotAControlServer, match=said):
        await lab.client().login("k")


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", encode_response(502, b"")]
)
async def test_fail__server_breaks_off(lab, answer: bytes) -> None:
    lab.server.key_answer = answer
    with pytest.raises(ControlUnreachable):
        await lab.client().login("k")


async def test_ok__key_in_chunks(lab) -> None:
    key = encode_key_response(public_key(lab.server.machine))
    chunks = b"%x\r\n%s\r\n%x;x=y\r\n%s\r\n0\r\n\r\n" % (10, key[:10], len(key) - 10, key[10:])
    lab.server.key_answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    assert isinstance(await lab.client().login("k"), Registered)


async def test_fail__server_goes_silent(lab) -> None:
    lab.server.silent = True
    task = asyncio.ensure_future(lab.client().login("k"))
    await lab.time.pass_time(9)
    assert not task.done()
    await lab.time.pass_time(2)
    with pytest.raises(ControlUnreachable, match="within 10 s"):
        await task


async def test_fail__server_has_another_key_and_mends(lab, full_map) -> None:
    client = await logged_in(lab, full_map)
    lab.server.machine = MachinePrivateKey(clamp(b"another key of the server 1234567"[:32]))
    lab.server.streams[-1].close()
    await lab.until(lambda: not client.is_connected)
    for _ in range(10):
        await lab.time.pass_time(1)
    assert client.is_connected


# --- the map stream


async def test_ok__first_map(lab, full_map) -> None:
    client = await logged_in(lab, full_map)
    assert client.netmap.self_node is not None
    assert client.netmap.self_node.tags == ("tag:gw",)
    assert set(client.netmap.peers) == {NodeId(2), NodeId(3)}
    assert lab.diffs[0].full
    assert set(lab.diffs[0].changed) == {2, 3}
    assert lab.states == ["starting", "running"]
    request = lab.server.maps[0].request
    assert request.stream
    assert request.compress == "zstd"
    assert request.keep_alive


async def test_ok__delta(lab, full_map) -> None:
    client = await logged_in(lab, full_map)
    patch = wire.PeerChange(node_id=2, endpoints=["192.0.2.1:41641"], derp_region=1)
    lab.server.maps[0].send(wire.MapResponse(peers_removed=[3], peers_changed_patch=[patch]))
    await lab.until(lambda: len(lab.diffs) == 2)
    diff = lab.diffs[1]
    assert not diff.full
    assert set(diff.changed) == {2}
    assert set(diff.removed) == {3}
    assert diff.previous[2].endpoints == ()
    assert client.netmap.peers[NodeId(2)].endpoints == (AddrPort("192.0.2.1", 41641),)


async def test_ok__keep_alives_hold_the_stream(lab, full_map) -> None:
    client = await logged_in(lab, full_map)
    for _ in range(5):
        await lab.time.pass_time(100)
        lab.server.maps[0].send_bytes(KEEP_ALIVE_ZSTD)
        await settle()
    assert client.is_connected
    assert len(lab.server.maps) == 1
    assert len(lab.diffs) == 1


async def test_fail__silence_opens_a_new_tunnel(lab, full_map) -> None:
    client = await logged_in(lab, full_map)
    await lab.time.pass_time(119)
    assert len(lab.server.maps) == 1
    await lab.time.pass_time(2)
    await lab.until(lambda: len(lab.server.maps) == 2 and client.is_connected)
    assert len(lab.server.streams) == 2
    assert client.netmap.peers, "the netmap stays in use"


async def test_fail__broken_tunnel_comes_back_by_back_off(lab, full_map) -> None:
    client = await logged_in(lab, full_map)
    server = lab.dialer.servers.pop(("control.example", 8080))
    lab.server.streams[-1].close()
    await lab.until(lambda: not client.is_connected)
    dials = len(lab.dialer.dialled)
    await lab.time.pass_time(5)
    assert 5 <= len(lab.dialer.dialled) - dials <= 60
    assert lab.health == [], "a hiccup is not reported"
    await lab.time.pass_time(120)
    assert [(event.code, event.broken) for event in lab.health] == [("control-unreachable", True)]
    assert client.state is BackendState.RUNNING, "tunnels go on"
    lab.dialer.servers["control.example", 8080] = server
    await lab.time.pass_time(60)
    assert client.is_connected
    assert lab.health[-1].broken is False
    assert len(lab.server.registers) == 1, "no new login"
    assert lab.diffs[-1].full


async def test_ok__a_client_that_ends_takes_its_report_with_it(lab, full_map) -> None:
    client = await logged_in(lab, full_map)
    lab.dialer.servers.pop(("control.example", 8080))
    lab.server.streams[-1].close()
    await lab.until(lambda: not client.is_connected)
    await lab.time.pass_time(120)
    assert lab.health[-1].broken
    lab.tasks[-1].cancel()
    await lab.until(lambda: not lab.health[-1].broken)
    assert lab.health[-1].code == "control-unreachable"


async def test_ok__link_change_reconnects_at_once(lab, full_map) -> None:
    client = await logged_in(lab, full_map)
    client.link_changed()
    await lab.until(lambda: not client.is_connected)
    await lab.time.pass_time(0.1)
    assert client.is_connected
    assert lab.health == []


@pytest.mark.parametrize(
    "data", [b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x04\x00\x00\x00abcd"], ids=["empty", "huge", "no zstd"]
)
async def test_fail__garbage_in_the_stream(lab, full_map, data: bytes) -> None:
    client = await logged_in(lab, full_map)
    lab.server.maps[0].send_bytes(data)
    await lab.until(lambda: not client.is_connected)
    await lab.time.pass_time(1)
    assert client.is_connected


async def test_fail__first_message_lacks_the_node(lab, full_map) -> None:
    lab.server.first = lambda opened: opened.send(wire.MapResponse(peers=[]) if len(lab.server.maps) == 1 else full_map)
    client = lab.client()
    await client.login("k")
    await lab.run(client)
    await lab.time.pass_time(1)
    assert client.is_connected
    assert len(lab.server.maps) == 2


async def test_fail__map_is_refused(lab, full_map) -> None:
    lab.server.map_answers = [(404, "node not found")] * 3
    lab.server.first = lambda opened: opened.send(full_map)
    client = lab.client()
    await client.login("k")
    await lab.run(client)
    await lab.time.pass_time(2)
    assert client.is_connected
    assert "node not found" in lab.health[0].text
    assert len(lab.server.registers) == 1


async def test_ok__approval(lab, full_map) -> None:
    full_map.node.machine_authorized = False
    client = await logged_in(lab, full_map)
    assert client.state is BackendState.NEEDS_APPROVAL
    full_map.node.machine_authorized = True
    lab.server.maps[0].send(wire.MapResponse(node=full_map.node))
    await lab.until(lambda: client.state is BackendState.RUNNING)


async def test_ok__expired_own_key(lab, full_map) -> None:
    client = await logged_in(lab, full_map)
    full_map.node.key_expiry = wire.format_time(lab.time.wall_now())
    lab.server.maps[0].send(wire.MapResponse(node=full_map.node))
    await lab.until(lambda: client.state is BackendState.NEEDS_LOGIN)


# --- updates

ENDPOINT = Endpoint(AddrPort("192.0.2.7", 41641), EndpointType.STUN)


async def test_ok__updates_are_sent_beside_the_stream(lab, full_map) -> None:
    client = await logged_in(lab, full_map)
    client.update(endpoints=(ENDPOINT,), disco_key=DiscoPublicKey(b"d" * 32))
    await lab.until(lambda: client.is_acknowledged)
    request = lab.server.lites[-1]
    assert request.omit_peers
    assert not request.stream
    assert request.endpoints == ["192.0.2.7:41641"]
    assert request.endpoint_types == [2]
    assert request.disco_key.startswith("discokey:6464")
    assert not lab.server.maps[0].ended
    assert len(lab.server.streams) == 1


async def test_ok__update_before_the_login_is_told_after_it(lab, full_map) -> None:
    lab.server.first = lambda opened: opened.send(full_map)
    client = lab.client()
    client.update(disco_key=DiscoPublicKey(b"d" * 32))
    await lab.run(client)
    assert lab.server.lites == []
    await client.login("k")
    await lab.until(lambda: client.is_acknowledged)
    assert lab.server.lites[-1].disco_key


async def test_fail__update_is_repeated_until_acknowledged(lab, full_map) -> None:
    client = await logged_in(lab, full_map)
    lab.server.lite_answers = [500, 500, 500]
    client.update(endpoints=(ENDPOINT,))
    await settle()
    client.update(hostinfo=wire.Hostinfo(hostname="renamed"))
    await lab.time.pass_time(3)
    assert client.is_acknowledged
    assert lab.server.lites[-1].hostinfo.hostname == "renamed"
    assert lab.server.lites[-1].endpoints == ["192.0.2.7:41641"]
    assert len(lab.server.maps) == 1


async def test_ok__jitter_is_not_told(lab, full_map) -> None:
    client = await logged_in(lab, full_map)
    client.update(net_info=wire.NetInfo(preferred_derp=1, derp_latency={"1-v4": 0.01}))
    await lab.until(lambda: client.is_acknowledged)
    count = len(lab.server.lites)
    client.update(net_info=wire.NetInfo(preferred_derp=1, derp_latency={"1-v4": 0.02}))
    await lab.time.pass_time(5)
    assert len(lab.server.lites) == count
    client.update(net_info=wire.NetInfo(preferred_derp=2))
    await lab.until(lambda: len(lab.server.lites) > count)
    assert lab.server.lites[-1].hostinfo.net_info.preferred_derp == 2


# --- pings


async def test_ok__ping_requests_are_answered_once(lab, full_map) -> None:
    await logged_in(lab, full_map)
    payload = b"POST /echo HTTP/1.1\r\nHost: c2n\r\nContent-Length: 5\r\n\r\nhello"
    liveness = wire.PingRequest(url="https://unused/machine/ping-response/1", url_is_noise=True)
    c2n = wire.PingRequest(url="https://unused/machine/c2n/2", types="c2n", payload=payload)
    for request in (liveness, liveness, c2n):
        lab.server.maps[0].send(wire.MapResponse(keep_alive=True, ping_request=request))
    await lab.until(lambda: len(lab.server.posts) == 2)
    await settle()
    assert lab.server.posts[0] == ("HEAD", "/machine/ping-response/1", b"")
    method, path, body = lab.server.posts[1]
    assert (method, path) == ("POST", "/machine/c2n/2")
    assert body.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body.endswith(b"\r\n\r\nhello")
    assert len(lab.server.posts) == 2


async def test_fail__bad_ping_requests_do_not_end_the_stream(lab, full_map) -> None:
    client = await logged_in(lab, full_map)
    for url, types, payload in (
        ("nonsense", "", b""),
        ("https://[bad", "c2n", b""),
        ("http://nowhere.example/x", "", b""),
        ("https://unused/1", "c2n", b"\xff\r\n\r\n"),
        ("https://unused/2", "disco", b""),
    ):
        request = wire.PingRequest(url=url, types=types, payload=payload)
        lab.server.maps[0].send(wire.MapResponse(ping_request=request, control_time="2026-01-01T00:00:00Z"))
    await settle()
    assert client.is_connected
    assert len(lab.server.maps) == 1
