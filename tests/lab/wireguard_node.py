"""A userspace engine alone in a network namespace, for `test_wireguard_go` and for measuring.

Configuration is one JSON line on standard input (keys never stand in arguments); each further line asks for the
state, which comes as one JSON line. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import Sequence
from functools import partial
from ipaddress import ip_network
from typing import Any

import uvloop

from appliance.drivers.tun import open_tun
from appliance.drivers.udp import open_udp_ports
from appliance.engine.userspace import UserspaceEngine, choose_step
from appliance.ports.clock import SystemClock
from appliance.ports.engine import EngineDiff, EnginePeer
from appliance.ports.randomness import SystemRandomness
from appliance.ports.underlay import PeerActivity, PeerPath
from appliance.proto.wireguard import Settings
from appliance.types.addresses import AddrPort, parse_addr_port
from appliance.types.keys import NodePrivateKey, NodePublicKey


class RoamingSink:
    """Path finding at its plainest: a peer is where it was last heard."""

    def __init__(self, engine: UserspaceEngine) -> None:
        self.engine = engine
        self.failures = 0

    def datagrams_received(self, batch: Sequence[tuple[AddrPort, bytes]]) -> None:
        del batch

    def relay_packets(self, peer: NodePublicKey, packets: Sequence[bytes]) -> None:
        del peer, packets

    def peer_wanted(self, peer: NodePublicKey) -> None:
        del peer

    def activity(self, reports: Sequence[PeerActivity]) -> None:
        for report in reports:
            if report.source is not None and report.rx_direct:
                self.engine.set_path(report.peer, PeerPath(direct=report.source))

    def send_failed(self, peer: NodePublicKey | None, to: AddrPort, error: OSError) -> None:
        del peer, to, error
        self.failures += 1


def state(engine: UserspaceEngine, sink: RoamingSink) -> dict[str, Any]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "ports": [str(port) for port in engine.local_ports()],
        "form": engine.form,
        "counters": dict(engine.counters()),
        "failures": sink.failures,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peers": {
            str(key): {
                "rx": value.rx_bytes,
                "tx": value.tx_bytes,
                "handshake": value.last_handshake.isoformat() if value.last_handshake else None,
            }
            for key, value in engine.statistics().items()
        },
    }


async def run() -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    wanted = json.loads(await lines.readline())
    offload = wanted.get("offload", True)
    tun = open_tun(wanted["interface"], wanted["mtu"], offload=offload)
    engine = UserspaceEngine(
        tun,
        partial(open_udp_ports, offload=offload),
        SystemClock(),
        SystemRandomness(),
        port=wanted["port"],
        settings=Settings(**wanted.get("settings", {})),
        step=choose_step(wanted.get("native", "auto")),
    )
    sink = RoamingSink(engine)
    engine.set_sink(sink)
    await engine.start()
    peers = [
        EnginePeer(NodePublicKey(bytes.fromhex(peer["public"])), tuple(map(ip_network, peer["allowed"])))
        for peer in wanted["peers"]
    ]
    private = NodePrivateKey(bytes.fromhex(wanted["private"]))
    await engine.apply(EngineDiff(private_key=private, replace=True, upsert=tuple(peers)))
    for configured, peer in zip(wanted["peers"], peers, strict=True):
        if "endpoint" in configured:
            engine.set_path(peer.key, PeerPath(direct=parse_addr_port(configured["endpoint"])))
    print(json.dumps(state(engine, sink)), flush=True)
    while await lines.readline():
        print(json.dumps(state(engine, sink)), flush=True)
    await engine.close()


if __name__ == "__main__":
    uvloop.run(run())
