"""A gateway's router as a process of its own: makes the device, applies a model, says so, waits to be killed."""

from __future__ import annotations

import asyncio
import sys
from ipaddress import ip_network
from pathlib import Path

from appliance.router.model import ForeignMode, RouterModel
from appliance.types.netmap import FilterRule, PortRange
from tests.lab.router_host import Gateway, Tunnel

MODEL = RouterModel(
    addresses=(ip_network("100.64.0.1/32"), ip_network("fd7a:115c:a1e0::1/128")),
    routes=(
        ip_network("100.64.0.2/32"),
        ip_network("192.168.20.0/24"),
        ip_network("10.0.0.0/8"),
        ip_network("fd7a:115c:a1e0::/48"),
    ),
    local_routes=(ip_network("10.1.0.0/16"), ip_network("fd01::/64")),
    advertised=(ip_network("192.168.10.0/24"), ip_network("fd10::/64")),
    rules=(FilterRule(("*",), (PortRange("*"),)),),
    wireguard_port=41641,
    foreign=ForeignMode.OPEN,
)


async def main(journal: Path) -> None:
    Tunnel()
    await Gateway(journal).router.apply(MODEL)
    print("applied", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
