"""Many peers that keep one gateway's paths busy: python -m bench.active_peers GATEWAY COUNT ADDRESS KEY_FILE

Each joins by itself and has a UDP port, a disco key and a WireGuard tunnel of its own; it answers disco pings, and asks
the gateway for an echo every 10 s. COUNT nodes at ADDRESS, ports from 20000 on. Prints `active` once all were answered.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from ipaddress import ip_network
from pathlib import Path

from appliance.crypto.x25519 import clamp
from appliance.ports.randomness import SystemRandomness
from appliance.proto.disco import DiscoKeys, Ping, Pong
from appliance.proto.disco.packet import is_disco
from appliance.proto.wireguard.tunnel import Tunnel, TunnelPeer
from appliance.types.addresses import AddrPort, parse_addr_port
from appliance.types.errors import DecodeError
from appliance.types.keys import DiscoPrivateKey, NodePublicKey
from bench.control_load import AT_ONCE, more_files
from tests.lab.control_node import ControlNode, server_key
from tests.lab.raw_packets import echo_request
from tests.lab.topology import CONTROL_IP

CONTROL_PORT = 8080
FIRST_PORT = 20000
ECHO_EVERY_S = 10.0
STEP_S = 0.5
"""How often the tunnels' timers are looked at."""


class ActivePeer:
    def __init__(self, node: ControlNode, address: AddrPort) -> None:
        self._node = node
        self._disco = DiscoKeys(DiscoPrivateKey(clamp(os.urandom(32))))
        self._tunnel = Tunnel(node.node, SystemRandomness(), time.time_ns)
        self._address = address
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind((address.ip, address.port))
        self._own = self._gateway_ip = ""
        self.answered = False

    async def join(self, auth_key: str, gateway: str) -> None:
        """Register, tell where it is, and learn where the gateway is."""
        await self._node.connect()
        response = await self._node.register(auth_key)
        assert response.machine_authorized, response.error
        await self._node.update(disco_key=str(self._disco.public), endpoints=[str(self._address)])
        told = await self._node.map_once()
        self._node.close()
        own, peers = told.node, told.peers or []
        found = next(each for each in peers if each.name.partition(".")[0] == gateway)
        assert own is not None
        self._own, self._gateway_ip = (str(ip_network(each.addresses[0])[0]) for each in (own, found))
        self._key = NodePublicKey.parse(found.key)
        self._to = next(at for at in map(parse_addr_port, found.endpoints or ()) if not at.is_v6)
        self._tunnel.configure(TunnelPeer(self._key), time.monotonic())

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable)

    def ask(self) -> None:
        """One echo request; the first one brings the handshake."""
        now = time.monotonic()
        self._tunnel.stage(self._key, echo_request(self._own, self._gateway_ip, 1))
        self._tunnel.flush(self._key, now)
        self._send(now)

    def step(self) -> None:
        now = time.monotonic()
        self._tunnel.handle_timer(now)
        self._send(now)

    def _send(self, now: float) -> None:
        for each in self._tunnel.datagrams_to_send(now):
            self._socket.sendto(each.data, self._to)

    def _readable(self) -> None:
        now = time.monotonic()
        while True:
            try:
                data, source = self._socket.recvfrom(2048)
            except BlockingIOError:
                break
            if is_disco(data):
                self._answer(data, AddrPort(*source))
            elif self._tunnel.receive_datagram(data, source, now):
                self.answered = True
        self._send(now)

    def _answer(self, data: bytes, source: AddrPort) -> None:
        try:
            sender, message = self._disco.open(data)
        except DecodeError:
            return
        if isinstance(message, Ping):
            pong = self._disco.seal(sender, Pong(message.tx_id, source), os.urandom(24))
            self._socket.sendto(pong, source)


async def main(gateway: str, count: int, address: str, auth_key: str) -> None:
    more_files(count)
    key = await server_key(CONTROL_IP, CONTROL_PORT)
    peers = [
        ActivePeer(ControlNode(CONTROL_IP, CONTROL_PORT, key, f"p{n}"), AddrPort(address, FIRST_PORT + n))
        for n in range(count)
    ]
    places = asyncio.Semaphore(AT_ONCE)

    async def join(peer: ActivePeer) -> None:
        async with places:
            await peer.join(auth_key, gateway)

    async with asyncio.TaskGroup() as tasks:
        for peer in peers:
            tasks.create_task(join(peer))
    for peer in peers:
        peer.start()
    told = False
    while True:
        share = int(ECHO_EVERY_S / STEP_S)
        for turn in range(share):
            for number, peer in enumerate(peers):
                peer.ask() if number % share == turn or not peer.answered else peer.step()
            await asyncio.sleep(STEP_S)
            if not told and all(peer.answered for peer in peers):
                told = True
                print("active", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]).read_text().strip()))
