"""A relay without a mesh: the plugin's forwarder and its kernel path on Linux, with sessions that are bound already.

python -m tests.lab.relay_host SETTINGS     JSON: sessions (each two "ip:port" or "", by VNI from 1), bytes_per_s
python -m tests.lab.relay_host contract A B OTHER     the contract of `KernelRelay`, with peers "ip:port"

Prints a JSON line after each look at the kernel: what it forwards, what the socket saw, and when the sides were seen.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time

from appliance.api.testing import check_kernel_relay
from appliance.drivers.kernel_relay import open_kernel_relay
from appliance.drivers.udp import open_udp_ports
from appliance.ports.kernel_relay import KernelRelayError
from appliance.proto.peer_relay import Limits, RelayServer
from appliance.types.addresses import parse_addr_port
from appliance.types.keys import DiscoPublicKey
from plugins.peer_relay.relay import Relay, SystemBytes

PORT = 41642
LOOK_S = 0.1


def bound_server(sessions: list[list[str]], bytes_per_s: int) -> RelayServer:
    """Sessions with VNIs from 1 on; "" is a side that has not come yet."""
    server = RelayServer(SystemBytes(), Limits(bytes_per_s=bytes_per_s))
    for number, ends in enumerate(sessions, 1):
        keys = DiscoPublicKey(bytes([number]) * 32), DiscoPublicKey(bytes([number + 128]) * 32)
        session = server.allocate("lab", keys, time.monotonic())
        for leg, end in zip(session.legs, ends, strict=True):
            if end:
                leg.bound = parse_addr_port(end)
                server._bound[leg.bound] += 1
    return server


def told(relay: Relay) -> str:
    kernel = relay.kernel
    return json.dumps(
        {
            "serving": kernel.serving,
            "kernel": sum(kernel.packets.values()),
            "kernel_bytes": sum(kernel.bytes.values()),
            "socket": sum(relay.forwarder.packets.values()),
            "counters": dict(relay.forwarder.counters),
            "seen": [[leg.last_seen for leg in session.legs] for session in relay.server],
            "packets": {session.vni: session.packets for session in relay.server},
            "now": time.monotonic(),
        }
    )


async def contract(*peers: str) -> None:
    check_kernel_relay(await open_kernel_relay(PORT, 0, None), *map(parse_addr_port, peers))


async def serve(settings: dict[str, object]) -> None:
    relay = Relay(server=bound_server(settings["sessions"], settings.get("bytes_per_s", 0)))
    ports = open_udp_ports(PORT)
    relay.forwarder.use(ports)
    for port in ports:
        port.set_reader(lambda port=port: relay.forwarder.readable(port, time.monotonic()))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    try:
        relay.kernel.use(await open_kernel_relay(PORT, 0, None))
    except KernelRelayError as error:
        print(json.dumps({"refused": error.text}), flush=True)
        return
    while not stop.is_set():
        relay.kernel.follow(relay.server, relay.forwarder.counters)
        print(told(relay), flush=True)
        await asyncio.sleep(LOOK_S)
    relay.kernel.stop("")
    for port in ports:
        port.close()


if __name__ == "__main__":
    asyncio.run(contract(*sys.argv[2:]) if sys.argv[1] == "contract" else serve(json.loads(sys.argv[1])))
