"""Default deny on real packets: what the policy does not name is neither seen nor reachable."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from appliance.crypto.x25519 import clamp
from appliance.ports.randomness import SystemRandomness
from appliance.proto.wireguard.cookies import CookieJar
from appliance.proto.wireguard.handshake import LocalIdentity, RemoteIdentity, create_initiation
from appliance.proto.wireguard.messages import encode_initiation
from appliance.proto.wireguard.settings import Settings
from appliance.proto.wireguard.timestamp import encode_tai64n
from appliance.types.keys import NodePrivateKey, NodePublicKey
from tests.lab.mesh import ControlServer, Gateway, command, fetch, page, web_server
from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.tcp_stream import stream
from tests.lab.topology import Internet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

FAR_FUTURE_NS = 4_000_000_000 * 10**9
"""Later than any timestamp that the gateway itself used, so that a reply depends on the policy alone."""


def write_policy(path: Path, acls: list[dict[str, object]]) -> None:
    path.write_text(json.dumps({"acls": acls}))


def private_key(gateway: Gateway) -> NodePrivateKey:
    (file,) = (gateway.directory / "state").glob("profiles/*/keys.json")
    return NodePrivateKey.parse(json.loads(file.read_text())["data"]["node_key"])


def forged_initiation(sender: Gateway, receiver_key: str, nth: int) -> bytes:
    """A handshake initiation that the sender's own engine would never send: its peer is not in the netmap."""
    random = SystemRandomness()
    remote = RemoteIdentity(LocalIdentity(private_key(sender)), NodePublicKey.parse(receiver_key))
    message, _ = create_initiation(remote, clamp(random.bytes(32)), 1, encode_tai64n(FAR_FUTURE_NS + nth * 10**9))
    return CookieJar(remote.public, Settings()).add_macs(encode_initiation(message), 0.0)


SEND_AND_LISTEN = """
import socket, sys
ip, port, packet = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.stdin.read())
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
probe.settimeout(2)
probe.sendto(packet, (ip, port))
try:
    print(probe.recv(2048)[:1].hex())
except TimeoutError:
    print("silence")
"""


def answer_to(sender: Gateway, ip: str, port: int, packet: bytes) -> str:
    """What comes back for a packet: the first byte in hex, or `silence`."""
    arguments = (sys.executable, "-c", SEND_AND_LISTEN, ip, str(port))
    result = command(sender.host, *arguments, stdin=packet.hex())
    assert result.code == 0, result.stderr
    return result.stdout.strip()


class Mesh:
    """Two public gateways: gateway-a of alice, gateway-b of bob, under a policy file."""

    def __init__(self, lab: Lab, directory: Path, acls: list[dict[str, object]]) -> None:
        internet = Internet(lab)
        self.policy = directory / "policy.hujson"
        write_policy(self.policy, acls)
        control_host = internet.server("control", 1)
        self.control = ControlServer(control_host, directory / "control")
        self.control.start()
        self.control.json("users", "create", "alice")
        self.control.json("users", "create", "bob")
        assert self.control.run("policy", "set", str(self.policy)).code == 0
        self.a = Gateway(internet.server("gateway-a", 10), directory / "a")
        self.b = Gateway(internet.server("gateway-b", 20), directory / "b")
        for gateway, user in ((self.a, "alice"), (self.b, "bob")):
            gateway.start()
            gateway.up(self.control.pre_auth_key(user), "--hostname", gateway.host.name)

    def set_policy(self, acls: list[dict[str, object]]) -> None:
        write_policy(self.policy, acls)
        result = self.control.run("policy", "set", str(self.policy))
        assert result.code == 0, result.stderr

    def peers_of(self, gateway: Gateway) -> set[str]:
        return {peer["name"].partition(".")[0] for peer in gateway.status()["peers"]}


ALICE_ONLY = [{"action": "accept", "src": ["alice@"], "dst": ["alice@:*"]}]
EVERYBODY = [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]
WEB_ONLY = [{"action": "accept", "src": ["alice@"], "dst": ["bob@:80"]}]


def test_ok__unnamed_peer_is_invisible_and_its_packets_are_dropped(lab: Lab, tmp_path: Path) -> None:
    mesh = Mesh(lab, tmp_path, ALICE_ONLY)
    status = mesh.b.status()
    assert mesh.peers_of(mesh.a) == set()
    assert mesh.peers_of(mesh.b) == set()
    key, port = status["self_node"]["node_key"], status["port"]
    assert answer_to(mesh.a, "203.0.113.20", port, forged_initiation(mesh.a, key, 1)) == "silence"
    # The same packet is answered once the policy names the pair: the silence above was the policy's.
    mesh.set_policy(EVERYBODY)
    wait_until(lambda: mesh.peers_of(mesh.b) == {"gateway-a"}, 15, "gateway-a in the netmap of gateway-b")
    assert answer_to(mesh.a, "203.0.113.20", port, forged_initiation(mesh.a, key, 2)) == "02"


def test_ok__only_the_named_port_answers(lab: Lab, tmp_path: Path) -> None:
    mesh = Mesh(lab, tmp_path, WEB_ONLY)
    wait_until(lambda: mesh.peers_of(mesh.a) == {"gateway-b"}, 15, "gateway-b in the netmap of gateway-a")
    page(tmp_path / "web", "open")
    address = mesh.b.status()["self_node"]["addresses"][0].partition("/")[0]
    web_server(mesh.b.host, "0.0.0.0", tmp_path / "web", 80)
    web_server(mesh.b.host, "0.0.0.0", tmp_path / "web", 81)
    wait_until(lambda: fetch(mesh.a.host, f"http://{address}:80/") == "open", 20, "port 80 through the tunnel")
    assert fetch(mesh.a.host, f"http://{address}:81/", 3) is None
    mesh.set_policy(EVERYBODY)
    wait_until(lambda: fetch(mesh.a.host, f"http://{address}:81/", 2) == "open", 20, "port 81 once it is allowed")
    mesh.set_policy(ALICE_ONLY)
    wait_until(lambda: fetch(mesh.a.host, f"http://{address}:80/", 2) is None, 20, "port 80 to close again")
    assert mesh.peers_of(mesh.a) == set()


def test_ok__a_running_transfer_ends_with_its_rule(lab: Lab, tmp_path: Path) -> None:
    mesh = Mesh(lab, tmp_path, WEB_ONLY)
    wait_until(lambda: mesh.peers_of(mesh.a) == {"gateway-b"}, 15, "gateway-b in the netmap of gateway-a")
    source, target = (each.status()["self_node"]["addresses"][0].partition("/")[0] for each in (mesh.a, mesh.b))
    wait_until(lambda: mesh.a.run("ping", "gateway-b", "-c", "1", "--icmp").code == 0, 20, "a packet through")
    with stream(mesh.a.host, source, mesh.b.host, target, 80) as transfer:
        assert transfer.moves(10)
        mesh.set_policy([{"action": "accept", "src": ["alice@"], "dst": ["bob@:81"]}])
        wait_until(lambda: not transfer.moves(1), 20, "the transfer to end")
        assert transfer.server_was_reset()
    assert mesh.peers_of(mesh.a) == {"gateway-b"}, "only the port was closed"


def test_ok__probe_hears_an_answer(lab: Lab) -> None:
    """The probe of the test above can hear: a plain UDP echo answers it."""
    internet = Internet(lab)
    host = internet.server("echo", 30)
    echo = host.start(
        "echo",
        sys.executable,
        "-u",
        "-c",
        "import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('203.0.113.30', 7));"
        "print('ready')\nwhile True: s.sendto(*s.recvfrom(2048))",
    )
    echo.wait_for_output("ready")
    prober = Gateway(internet.server("prober", 31), Path("unused"))
    assert answer_to(prober, "203.0.113.30", 7, b"\x2aX") == "2a"
