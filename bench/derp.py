"""A stand-alone relay under load: packets delivered a second and memory per connection, for few and many connections.

Server and load share the machine, so what counts is the figure per CPU second of the server: what one core could do.
Half of up to 100 connections send as fast as they may, each to a partner of its own; all others are idle.
"""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit

from appliance.crypto.x25519 import clamp, public_key
from appliance.proto.derp.client import ClientState, DerpClient
from appliance.proto.derp.frames import send_packet_bytes
from appliance.types.keys import NodePrivateKey
from bench.report import line
from tests.lab.mesh import PROGRAMS
from tests.lab.namespaces import Lab, LabError
from tests.lab.processes import Process, wait_until

SECONDS = 3.0
PORT = 3340
ACTIVE = 100
CONNECTIONS = (2, 100, 5000)
TLS_CONNECTIONS = 1000
SIZES = {"full": 1400, "small": 100}
FRAMES = 32


def connect(seed: int, tls: ssl.SSLContext | None) -> tuple[socket.socket, NodePrivateKey]:
    """One client that the server has accepted."""
    private = NodePrivateKey(clamp(seed.to_bytes(4, "big") * 8))
    sock = socket.create_connection(("127.0.0.1", PORT))
    if tls is not None:
        sock = tls.wrap_socket(sock)
    client = DerpClient(private, "bench", bytes(24), 0.0)
    while client.state is not ClientState.OPEN:
        sock.sendall(client.data_to_send(0.0))
        client.receive_data(sock.recv(65536), 0.0)
        if client.state is ClientState.CLOSED:
            raise LabError("the relay refused a connection")
    return sock, private


def load(count: int, size: int, *, secured: bool) -> dict[str, float]:
    """Connect, then send for `SECONDS` where `size` is not 0. Runs in a process of its own; prints its result."""
    setrlimit(RLIMIT_NOFILE, (getrlimit(RLIMIT_NOFILE)[1],) * 2)
    tls = ssl._create_unverified_context() if secured else None
    made = [connect(seed + 1, tls) for seed in range(count)]
    print("connected", flush=True)
    if not size:
        sys.stdin.readline()
        return {}
    active = made[: min(count, ACTIVE)]
    half = len(active) // 2
    blobs = {
        active[at][0].fileno(): send_packet_bytes(public_key(active[half + at][1]), bytes(size)) * FRAMES
        for at in range(half)
    }
    return pump({each.fileno(): each for each, _ in active}, blobs, size)


def pump(socks: dict[int, socket.socket], blobs: dict[int, bytes], size: int) -> dict[str, float]:
    poll, rest = select.epoll(), {number: memoryview(blob) for number, blob in blobs.items()}
    for number, sock in socks.items():
        sock.setblocking(False)
        poll.register(number, select.EPOLLOUT if number in blobs else select.EPOLLIN)
    buffer, received, started = bytearray(1 << 18), 0, time.monotonic()
    while (now := time.monotonic()) - started < SECONDS:
        for number, event in poll.poll(SECONDS - (now - started)):
            if event & select.EPOLLIN:
                received += socks[number].recv_into(buffer)
            elif event & select.EPOLLOUT:
                sent = socks[number].send(rest[number])
                rest[number] = rest[number][sent:] or memoryview(blobs[number])
    return {"packets": received / (37 + size), "bytes": received, "seconds": time.monotonic() - started}


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_kib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return float(text.partition("VmRSS:")[2].split()[0])


class Relay:
    def __init__(self, lab: Lab, directory: Path) -> None:
        self.host = lab.namespace("relay")
        self.directory = directory
        self._count = 0

    def start(self, *, secured: bool) -> Process:
        self._count += 1
        made = self.host.start(
            f"derp-{self._count}",
            "sh",
            "-c",
            f'ulimit -n $(ulimit -Hn); exec {PROGRAMS / "waypost-derp"} "$@"',
            "waypost-derp",
            *("--host", "127.0.0.1", "--port", str(PORT), "--stun-port", "0", "--state-dir", str(self.directory)),
            *(("--name", "127.0.0.1") if secured else ("--plain",)),
            env={"PYTHONUNBUFFERED": "1"},
        )
        made.wait_for_output("relay on TCP port")
        return made

    def client(self, count: int, size: int, *, secured: bool) -> Process:
        arguments = (str(count), str(size), "tls" if secured else "plain")
        root = Path(__file__).resolve().parents[1]
        return self.host.start(
            f"load-{self._count}", sys.executable, "-m", "bench.derp", *arguments, env={"PYTHONPATH": str(root)}
        )

    def rate(self, count: int, size: int, *, secured: bool) -> tuple[float, float, float]:
        """Packets a second, packets per CPU second of the server, Gbit/s."""
        server = self.start(secured=secured)
        client = self.client(count, size, secured=secured)
        client.wait_for_output("connected", 120)
        before = cpu_s(server.popen.pid)
        wait_until(lambda: not client.running, SECONDS + 60, "the load to end")
        used = cpu_s(server.popen.pid) - before
        found = json.loads(client.output().splitlines()[-1])
        server.stop()
        return found["packets"] / found["seconds"], found["packets"] / used, found["bytes"] * 8e-9 / found["seconds"]

    def memory_kib(self, count: int, *, secured: bool) -> float:
        """Resident memory that one more idle connection costs."""
        server = self.start(secured=secured)
        before = rss_kib(server.popen.pid)
        client = self.client(count, 0, secured=secured)
        client.wait_for_output("connected", 120)
        grown = rss_kib(server.popen.pid) - before
        client.stop()
        server.stop()
        return grown / count


def run(directory: Path) -> Iterator[str]:
    with Lab(directory / "logs") as lab:
        relay = Relay(lab, directory)
        relay.host.ip("link set lo up")
        for name, size in SIZES.items():
            for count in CONNECTIONS:
                for secured in (False, True) if count == ACTIVE else (False,):
                    rate, per_cpu, gbit = relay.rate(count, size, secured=secured)
                    variant = f"{name}, {count} connections{', TLS' if secured else ''}"
                    more = {"thousand_packets_per_cpu_s": round(per_cpu / 1e3, 1), "gbit_s": round(gbit, 3)}
                    yield line("derp", rate / 1e3, "thousand packets/s", variant=variant, **more)
        for count, secured in ((CONNECTIONS[-1], False), (TLS_CONNECTIONS, True)):
            variant = f"idle, {count} connections{', TLS' if secured else ''}"
            yield line("derp", relay.memory_kib(count, secured=secured), "KiB per connection", variant=variant)


if __name__ == "__main__":
    print(json.dumps(load(int(sys.argv[1]), int(sys.argv[2]), secured=sys.argv[3] == "tls")), flush=True)
