"""The userspace engine against wireguard-go, as plain WireGuard peers.

wpwg-a (our engine)  192.0.2.1 ---- veth ---- 192.0.2.2  (wireguard-go) wpwg-b
       10.77.0.1, fd77::1       = tunnel =       10.77.0.2, fd77::2
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.crypto.x25519 import clamp, x25519_public

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

A, B = f"wpwg-a{os.getpid() % 100000}", f"wpwg-b{os.getpid() % 100000}"
ROOT = Path(__file__).parents[2]
BULK = 8 << 20
SERVER = """
import hashlib, socket, sys
v = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
s = socket.create_server((sys.argv[1], 5555), family=v); print("up", flush=True)
c, _ = s.accept(); h = hashlib.sha256()
while (d := c.recv(1 << 16)): h.update(d)
c.sendall(h.hexdigest().encode()); c.close()
"""
CLIENT = """
import hashlib, random, socket, sys
d = random.Random(1).randbytes(int(sys.argv[2])); c = socket.create_connection((sys.argv[1], 5555), timeout=60)
c.sendall(d); c.shutdown(socket.SHUT_WR); got = b""
while (part := c.recv(100)): got += part
sys.exit(0 if got.decode() == hashlib.sha256(d).hexdigest() else 1)
"""


def sh(command: str, stdin: str | None = None) -> str:
    result = subprocess.run(command.split(), input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


def inside(namespace: str, command: str, stdin: str | None = None) -> str:
    return sh(f"ip netns exec {namespace} {command}", stdin)


def until(condition: Any, what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        subprocess.run(["sleep", "0.1"], check=True)


class Node:
    """Our engine as a process in its namespace."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", A, sys.executable, str(ROOT / "tests/lab/wireguard_node.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.first = self._ask(json.dumps(config))

    def _ask(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the engine's process ended"
        return json.loads(answer)

    def state(self) -> dict[str, Any]:
        return self._ask("state")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.process.communicate(timeout=10)


class Bench:
    """Two namespaces, keys for both sides, wireguard-go running on `b`."""

    def __init__(self) -> None:
        self.private_a, self.private_b = clamp(os.urandom(32)), clamp(os.urandom(32))
        self.public_a, self.public_b = x25519_public(self.private_a), x25519_public(self.private_b)
        self.node: Node | None = None

    def configure_b(self, *, endpoint: bool, keepalive: int = 0) -> None:
        text = f"[Interface]\nPrivateKey = {b64encode(self.private_b).decode()}\nListenPort = 51820\n"
        text += f"[Peer]\nPublicKey = {b64encode(self.public_a).decode()}\nAllowedIPs = 10.77.0.1/32, fd77::1/128\n"
        if endpoint:
            text += "Endpoint = 192.0.2.1:41641\n"
        if keepalive:
            text += f"PersistentKeepalive = {keepalive}\n"
        inside(B, "wg setconf wg0 /dev/stdin", text)

    def start_a(self, *, endpoint: bool, **extra: Any) -> Node:
        peer: dict[str, Any] = {"public": self.public_b.hex(), "allowed": ["10.77.0.2/32", "fd77::2/128"]}
        if endpoint:
            peer["endpoint"] = "192.0.2.2:51820"
        config = {"private": self.private_a.hex(), "interface": "wp0", "mtu": 1420, "port": 41641, "peers": [peer]}
        self.node = Node({**config, **extra})
        for words in ("addr add 10.77.0.1/24 dev wp0", "-6 addr add fd77::1/64 dev wp0 nodad", "link set wp0 up"):
            inside(A, f"ip {words}")
        return self.node

    def peer(self) -> dict[str, Any]:
        assert self.node is not None
        (peer,) = self.node.state()["peers"].values()
        return peer


@pytest.fixture
def bench() -> Iterator[Bench]:
    for program in ("ip", "wg", "wireguard-go"):
        if shutil.which(program) is None:
            pytest.fail(f"{program} is missing: install the packages iproute2, wireguard-tools and wireguard-go")
    bench = Bench()
    peer: subprocess.Popen[bytes] | None = None
    try:
        sh(f"ip netns add {A}")
        sh(f"ip netns add {B}")
        sh(f"ip link add va netns {A} type veth peer name vb netns {B}")
        for namespace, device, address in ((A, "va", "192.0.2.1/24"), (B, "vb", "192.0.2.2/24")):
            inside(namespace, f"ip addr add {address} dev {device}")
            inside(namespace, f"ip link set {device} up")
            inside(namespace, "ip link set lo up")
        peer = subprocess.Popen(
            ["ip", "netns", "exec", B, "wireguard-go", "-f", "wg0"],
            env={**os.environ, "WG_PROCESS_FOREGROUND": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(
            lambda: subprocess.run(["ip", "-n", B, "link", "show", "wg0"], capture_output=True).returncode == 0, "wg0"
        )
        until(
            lambda: (
                subprocess.run(["ip", "netns", "exec", B, "wg", "show", "wg0"], capture_output=True).returncode == 0
            ),
            "wg0 answers",
        )
        for words in ("addr add 10.77.0.2/24 dev wg0", "-6 addr add fd77::2/64 dev wg0 nodad", "link set wg0 up"):
            inside(B, f"ip {words}")
        yield bench
    finally:
        if bench.node is not None:
            bench.node.close()
        if peer is not None:
            peer.terminate()
            peer.wait(timeout=10)
        for namespace in (A, B):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


def bulk(server: str, client: str, address: str) -> None:
    """Send data through the tunnel; the receiver's hash must match."""
    listening = subprocess.Popen(
        ["ip", "netns", "exec", server, sys.executable, "-c", SERVER, address], stdout=subprocess.PIPE, text=True
    )
    try:
        assert listening.stdout is not None
        assert listening.stdout.readline() == "up\n"
        result = subprocess.run(
            ["ip", "netns", "exec", client, sys.executable, "-c", CLIENT, address, str(BULK)], check=False, timeout=60
        )
        assert result.returncode == 0
    finally:
        listening.kill()
        listening.communicate(timeout=10)


def test_ok__we_initiate(bench: Bench) -> None:
    bench.configure_b(endpoint=False)
    node = bench.start_a(endpoint=True)
    inside(A, "ping -c 3 -i 0.2 -W 5 10.77.0.2")
    inside(A, "ping -c 2 -i 0.2 -W 5 fd77::2")
    bulk(B, A, "10.77.0.2")
    bulk(A, B, "10.77.0.1")
    bulk(B, A, "fd77::2")
    assert bench.peer()["handshake"] is not None
    assert node.state()["counters"].get("bad_ciphertext", 0) == 0


def test_ok__they_initiate(bench: Bench) -> None:
    bench.start_a(endpoint=False)
    bench.configure_b(endpoint=True)
    inside(B, "ping -c 3 -i 0.2 -W 5 10.77.0.1")
    bulk(A, B, "10.77.0.1")
    bulk(B, A, "10.77.0.2")
    assert bench.peer()["rx"] > BULK


def test_ok__without_offloads(bench: Bench) -> None:
    bench.configure_b(endpoint=False)
    bench.start_a(endpoint=True, offload=False)
    bulk(B, A, "10.77.0.2")
    bulk(A, B, "10.77.0.1")


def test_ok__rekey_with_a_shortened_clock(bench: Bench) -> None:
    bench.configure_b(endpoint=False)
    bench.start_a(endpoint=True, settings={"rekey_after_time_s": 1.0, "rekey_timeout_s": 0.5})
    inside(A, "ping -c 1 -W 5 10.77.0.2")
    handshakes = {bench.peer()["handshake"]}

    def rekeyed() -> bool:
        inside(A, "ping -c 2 -i 0.2 -W 1 10.77.0.2")
        handshakes.add(bench.peer()["handshake"])
        return len(handshakes) >= 4

    until(rekeyed, "three rekeys without a lost packet")
    bulk(A, B, "10.77.0.1")
