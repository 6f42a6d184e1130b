"""Datagrams through a gateway's peer relay, against plain forwarding by nftables in the same run.

Sender and receiver are the two bound sides; the relay stands between them in its own namespace: as the product's
program in the kernel, as its forwarder on Linux sockets, and as two nftables rules that rewrite addresses. Packets
carry a Geneve header.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.report import line, middle
from tests.lab.mesh import command
from tests.lab.namespaces import Lab, LabError
from tests.lab.processes import Process

RUNS = 5
SECONDS = 2.0
PORT = 41642
SIZES = {"full": 1320, "small": 72}
"""Bytes of a relayed datagram: a full tunnel packet, and 64 bytes behind the header."""

SENDER = """
import socket, struct, sys, time
size, seconds = int(sys.argv[1]), float(sys.argv[2])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("10.88.1.2", 1001))
sock.connect(("10.88.1.1", 41642))
packet = bytes.fromhex("00007a1200000100") + bytes(size - 8)
count = min(40, 60000 // size)
control = [(17, 103, struct.pack("=H", size))]
data = packet * count
end = time.monotonic() + seconds
while time.monotonic() < end:
    try:
        sock.sendmsg([data], control)
    except OSError:
        time.sleep(0.0005)
"""
RECEIVER = """
import json, socket, struct, sys, time
size, seconds = int(sys.argv[1]), float(sys.argv[2])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
sock.setsockopt(17, 104, 1)
sock.bind(("10.88.2.2", 1002))
print("ready", flush=True)
buffer = bytearray(65535)
sock.recv_into(buffer)
start, total = time.monotonic(), 0
sock.settimeout(0.5)
last = start
try:
    while last - start < seconds - 0.2:
        total += sock.recv_into(buffer)
        last = time.monotonic()
except TimeoutError:
    pass
print(json.dumps({"packets": total / size, "bytes": total, "seconds": max(last - start, 0.001)}), flush=True)
"""
RELAY = """
import asyncio, contextlib, resource, signal, sys
from appliance.drivers.kernel_relay import open_kernel_relay
from appliance.drivers.udp import open_udp_ports
from appliance.proto.peer_relay import RelayServer
from appliance.types.addresses import AddrPort
from appliance.types.keys import DiscoPublicKey
from plugins.peer_relay.forwarding import Forwarder
from plugins.peer_relay.kernel import wanted_pairs
from plugins.peer_relay.relay import SystemBytes
async def main():
    server = RelayServer(SystemBytes())
    forwarder = Forwarder(server, lambda source, packet: None)
    session = server.allocate("bench", (DiscoPublicKey(b"a" * 32), DiscoPublicKey(b"b" * 32)), 0.0)
    for leg, address in zip(session.legs, (AddrPort("10.88.1.2", 1001), AddrPort("10.88.2.2", 1002))):
        leg.bound = address
        server._bound[address] += 1
    ports = open_udp_ports(41642)
    forwarder.use(ports)
    for port in ports:
        port.set_reader(lambda port=port: forwarder.readable(port, 0.0))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    kernel = await open_kernel_relay(41642, 0, None) if "kernel" in sys.argv else None
    if kernel is not None:
        kernel.keep(wanted_pairs(server))
    print("ready", flush=True)
    forwarded = 0
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await stop.wait()
        if kernel is not None:
            forwarded += sum(each.packets for each in kernel.keep(wanted_pairs(server)).values())
    if kernel is not None:
        kernel.close()
    seen = sum(forwarder.packets.values())
    if kernel is not None and seen > forwarded / 1000:
        sys.exit(f"{seen} packets came to the socket, {forwarded} were forwarded by the kernel")
    used = resource.getrusage(resource.RUSAGE_SELF)
    print("cpu", used.ru_utime + used.ru_stime, flush=True)
asyncio.run(main())
"""
RULES = f"""table ip plain {{
    chain pre {{
        type filter hook prerouting priority -300; policy accept;
        ip saddr 10.88.1.2 udp dport {PORT} notrack ip daddr set 10.88.2.2 udp dport set 1002
    }}
    chain post {{
        type filter hook postrouting priority 300; policy accept;
        ip saddr 10.88.1.2 udp dport 1002 ip saddr set 10.88.2.1 udp sport set {PORT}
    }}
}}"""
ROOT = Path(__file__).resolve().parents[1]


class Line:
    """sender 10.88.1.2 - relay - 10.88.2.2 receiver."""

    def __init__(self, lab: Lab) -> None:
        self.sender, self.relay, self.receiver = (lab.namespace(name) for name in ("sender", "relay", "receiver"))
        for number, end in ((1, self.sender), (2, self.receiver)):
            lab.cable(self.relay, f"r{number}", end, "eth0")
            self.relay.ip(f"addr add 10.88.{number}.1/24 dev r{number}")
            end.ip(f"addr add 10.88.{number}.2/24 dev eth0")
            end.ip(f"route add default via 10.88.{number}.1")
        self.relay.sysctl("net.ipv4.ip_forward", 1)

    def rate(self, size: int) -> tuple[float, float]:
        """Packets a second and Gbit/s that arrive."""
        arguments = (str(size), str(SECONDS))
        receiver = self.receiver.start("receiver", sys.executable, "-u", "-c", RECEIVER, *arguments)
        receiver.wait_for_output("ready")
        sent = command(self.sender, sys.executable, "-c", SENDER, str(size), str(SECONDS + 0.5))
        if sent.code:
            raise LabError(f"sender: {sent.stderr[-300:]}")
        receiver.popen.wait(SECONDS + 5)
        found = json.loads(receiver.output().splitlines()[-1])
        receiver.log.unlink()
        return found["packets"] / found["seconds"], found["bytes"] * 8e-9 / found["seconds"]

    def start_relay(self, *words: str) -> Process:
        relay = self.relay.start("relay", sys.executable, "-u", "-c", RELAY, *words, env={"PYTHONPATH": str(ROOT)})
        relay.wait_for_output("ready")
        return relay


def plain(world: Line, size: int) -> tuple[float, float]:
    world.relay.nft(RULES)
    try:
        return world.rate(size)
    finally:
        world.relay.nft("delete table ip plain")


def product(world: Line, size: int, *words: str) -> tuple[float, float, float]:
    """With the word `kernel`: by its program there. Also the packets per CPU second of the relay's process."""
    relay = world.start_relay(*words)
    packets, gbit = world.rate(size)
    if relay.stop():
        raise LabError(f"relay: {relay.output()[-300:]}")
    cpu = float(relay.output().split("cpu")[-1]) if "cpu" in relay.output() else 0.0
    relay.log.unlink()
    return packets, gbit, packets * SECONDS / cpu if cpu else 0.0


def run(directory: Path) -> Iterator[str]:
    with Lab(directory / "logs") as lab:
        world = Line(lab)
        for variant, size in SIZES.items():
            ours: dict[str, list[tuple[float, float, float]]] = {"kernel": [], "userspace": []}
            theirs = []
            for _ in range(RUNS):
                ours["kernel"].append(product(world, size, "kernel"))
                ours["userspace"].append(product(world, size))
                theirs.append(plain(world, size))
            peer_packets, peer_gbit = (middle([each[n] for each in theirs]) for n in range(2))
            for form, runs in ours.items():
                packets, gbit, per_cpu = (middle([each[n] for each in runs]) for n in range(3))
                process = {"thousand_packets_per_cpu_s": round(per_cpu / 1e3, 1)} if form == "userspace" else {}
                yield line(
                    "peer_relay",
                    packets / 1e3,
                    "thousand packets/s",
                    variant=f"{form}, {variant}",
                    peer="nftables address rewriting",
                    peer_value=peer_packets / 1e3,
                    gbit_s=round(gbit, 3),
                    peer_gbit_s=round(peer_gbit, 3),
                    **process,
                )
