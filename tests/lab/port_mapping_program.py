"""The port mapper alone, as a process of its own: maps its UDP port, says so, echoes what comes to it.

usage: port_mapping_program.py ROUTER OWN KIND...      SIGTERM gives the port back and ends it
"""

from __future__ import annotations

import asyncio
import signal
import sys
from ipaddress import IPv4Address

from appliance.drivers.router_udp import open_router_ports
from appliance.drivers.streams import SocketDialer
from appliance.drivers.udp import open_udp_ports
from appliance.portmap.mapping import Kind, PortMapping, RouterPlace
from appliance.portmap.service import PortMappingService
from appliance.ports.clock import SystemClock
from appliance.ports.randomness import SystemRandomness


def say(result: PortMapping) -> None:
    if result.mapping is not None:
        print(f"mapped {result.mapping.external} by {result.mapping.kind}", flush=True)
    else:
        print(f"nothing mapped: {result.error}", flush=True)


async def main(router: str, own: str, kinds: list[str]) -> None:
    port = open_udp_ports(0)[0]

    def echo() -> None:
        for source, batch in port.receive():
            port.send(source, batch)

    port.set_reader(echo)
    service = PortMappingService(
        open_router_ports,
        SocketDialer(mark=0),
        SystemClock(),
        SystemRandomness(),
        kinds=[Kind(kind) for kind in kinds],
        place=lambda: RouterPlace(IPv4Address(router), IPv4Address(own)),
        local_port=lambda: port.local.port,
        on_change=say,
    )
    service.set_wanted(True)
    running = asyncio.ensure_future(service.run())
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await service.close()
    port.close()
    print("closed", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
