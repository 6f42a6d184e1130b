"""A router that maps ports on request (NAT-PMP), and the product's port mapper asking it."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

from appliance.magicsock.status import PortMappingSeen
from appliance.portmap.machine import PortMapper
from appliance.portmap.mapping import RouterPlace
from appliance.portmap.outbox import MappingChanged, SendToRouter
from appliance.ports.randomness import SeededRandomness
from appliance.proto.portmap import natpmp
from appliance.types.addresses import AddrPort
from tests.sim.nat import Nat
from tests.sim.network import Host, Realm
from tests.sim.node import SimNode
from tests.sim.world import World


class MappingRouter:
    """The NAT's own address on the LAN. Leases end with their time and with the NAT's state; the epoch starts anew."""

    def __init__(self, world: World, lan: Realm, ip: str, nat: Nat) -> None:
        self._world, self._lan, self._nat, self.ip = world, lan, nat, ip
        self._epoch_from = world.now
        nat.rebooted = self._rebooted
        lan.attach(ip, self._receive)

    def _rebooted(self) -> None:
        self._epoch_from = self._world.now

    def _receive(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        if to.port != natpmp.PORT or self._nat.blocks_udp or data[:1] != b"\0":
            return  # other protocols are not spoken here
        epoch = int(self._world.now - self._epoch_from)
        if data == natpmp.encode_address_request():
            address = IPv4Address(self._nat.external_ip)
            self._lan.send(to, source, struct.pack(">BBHI", 0, 128, 0, epoch) + address.packed)
        elif len(data) == 12 and data[1] == 1:
            internal, wanted, lifetime = struct.unpack(">HHI", data[4:])
            port = self._nat.lease(wanted or internal, AddrPort(source.ip, internal), float(lifetime))
            self._lan.send(to, source, struct.pack(">BBHIHHI", 0, 129, 0, epoch, internal, port, lifetime))


class SimPortMapper:
    """The node's mapper, on a socket of its own; what it gets goes to path finding, as in the daemon."""

    def __init__(self, world: World, node: SimNode, host: Host, router_ip: str) -> None:
        self._world, self._node, self._host = world, node, host
        self._mapper = PortMapper(SeededRandomness(f"port mapper of {node.name} {world.seed}"))
        self._port = host.open(self._receive)
        self._wish = 0
        self._mapper.set_network(RouterPlace(IPv4Address(router_ip), IPv4Address(host.ip)), host.port, world.now)
        self._drain()

    def network_lost(self) -> None:
        """The host has left the router's network."""
        self._mapper.set_network(None, 0, self._world.now)
        self._drain()

    def _receive(self, source: AddrPort, data: bytes) -> None:
        self._mapper.receive_datagram(data, source, self._world.now)
        self._drain()

    def _drain(self) -> None:
        while (action := self._mapper.next_action()) is not None:
            if isinstance(action, SendToRouter):
                self._host.send(action.to, action.data, self._port)
            elif isinstance(action, MappingChanged):
                self._tell()
        self._wish += 1
        wish, deadline = self._wish, self._mapper.next_timer()
        if deadline is not None:
            self._world.at(deadline, lambda: self._timer(wish))

    def _timer(self, wish: int) -> None:
        if wish != self._wish:
            return
        if self._host.asleep:
            self._world.after(1.0, lambda: self._timer(wish))
        else:
            self._mapper.handle_timer(self._world.now)
            self._drain()

    def _tell(self) -> None:
        mapping = self._mapper.result.mapping
        self._world.note(self._node.name, f"router maps {mapping.external if mapping else 'nothing'}")
        self._node.port_mapped(PortMappingSeen(external=mapping.external) if mapping else PortMappingSeen())
