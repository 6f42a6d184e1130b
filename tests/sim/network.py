"""Networks: address spaces, wires and hosts. Datagrams are (source, destination, bytes). NATs: see `nat`.

host -- Realm -- Nat -- Realm (the Internet)         host -- Realm -- Nat -- Realm -- Nat -- Realm
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from appliance.types.addresses import AddrPort
from tests.sim.world import World

Receiver = Callable[[AddrPort, AddrPort, bytes], None]


@dataclass
class Quality:
    """Of a wire, one way: seconds of delay, spread of it (which reorders), share of packets lost, share of doubled.

    `mtu`: bytes of an IP packet that pass; nobody fragments here.
    """

    delay: float = 0.01
    jitter: float = 0.0
    loss: float = 0.0
    doubled: float = 0.0
    mtu: int = 1500


class Upstream(Protocol):
    """Where packets go that are not for here."""

    def send(self, source: AddrPort, to: AddrPort, data: bytes) -> None: ...


class Realm:
    """One address space: packets reach whoever has the address; the rest goes to the gateway of its IP version.

    `quality_v6` is the same wire unless it is set apart.
    """

    def __init__(self, world: World, quality: Quality) -> None:
        self.world = world
        self.quality = quality
        self.quality_v6 = quality
        self.gateway: Upstream | None = None
        self.gateway_v6: Upstream | None = None
        self._receivers: dict[str, Receiver] = {}

    def attach(self, ip: str, receive: Receiver) -> None:
        if ip in self._receivers:
            raise ValueError(f"{ip} is taken")
        self._receivers[ip] = receive

    def detach(self, ip: str) -> None:
        self._receivers.pop(ip, None)

    def send(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        """Onto the wire; lost, late, doubled or delivered."""
        quality, chance = self.quality_v6 if to.is_v6 else self.quality, self.world.randomness
        if len(data) + (48 if to.is_v6 else 28) > quality.mtu:
            return
        if quality.doubled and chance.uniform(0, 1) < quality.doubled:
            self._carry(quality, source, to, data)
        if quality.loss and chance.uniform(0, 1) < quality.loss:
            return
        self._carry(quality, source, to, data)

    def _carry(self, quality: Quality, source: AddrPort, to: AddrPort, data: bytes) -> None:
        delay = quality.delay + (self.world.randomness.uniform(0, quality.jitter) if quality.jitter else 0.0)
        self.world.after(delay, lambda: self._arrive(source, to, data))

    def _arrive(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        receive = self._receivers.get(to.ip)
        if receive is not None:
            receive(source, to, data)
            return
        gateway = self.gateway_v6 if to.is_v6 else self.gateway
        if gateway is not None:
            gateway.send(source, to, data)


class Host:
    """A machine whose UDP port belongs to `receive`; more ports can be opened. `ip6`: its global IPv6 address."""

    FIRST_EXTRA_PORT = 50000

    def __init__(self, world: World, realm: Realm, ip: str, port: int = 41641, ip6: str | None = None) -> None:
        self.world, self.realm, self.ip, self.port, self.ip6 = world, realm, ip, port, ip6
        self.receive: Callable[[AddrPort, bytes], None] | None = None
        self.blackholed: set[str] = set()
        self.asleep = False
        self._extra: dict[int, Callable[[AddrPort, bytes], None]] = {}
        self._next_port = self.FIRST_EXTRA_PORT
        realm.attach(ip, self._arrive)
        if ip6 is not None:
            realm.attach(ip6, self._arrive)

    @property
    def local(self) -> AddrPort:
        return AddrPort(self.ip, self.port)

    def send(self, to: AddrPort, data: bytes, port: int = 0) -> None:
        """From the main port or an extra one. Raises OSError as a socket without IPv6 does."""
        if self.asleep:
            return
        if to.is_v6 and self.ip6 is None:
            raise OSError(errno.ENETUNREACH, "no route")
        source = AddrPort(self.ip6 if to.is_v6 and self.ip6 is not None else self.ip, port or self.port)
        self.realm.send(source, to, data)

    def open(self, receive: Callable[[AddrPort, bytes], None]) -> int:
        """One more port; ports follow each other as on most systems that are asked for several."""
        while self._next_port in self._extra or self._next_port == self.port:
            self._next_port += 1
        port = self._next_port
        self._next_port = self.FIRST_EXTRA_PORT + (port + 1 - self.FIRST_EXTRA_PORT) % 10000
        self._extra[port] = receive
        return port

    def close(self, port: int) -> None:
        self._extra.pop(port, None)

    def _arrive(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        if self.asleep or source.ip in self.blackholed:
            return
        receive = self.receive if to.port == self.port else self._extra.get(to.port)
        if receive is not None:
            receive(source, data)

    def move(self, realm: Realm, ip: str) -> None:
        """Roam: another network, another address, and no IPv6 there."""
        self.realm.detach(self.ip)
        if self.ip6 is not None:
            self.realm.detach(self.ip6)
        self.realm, self.ip, self.ip6 = realm, ip, None
        realm.attach(ip, self._arrive)
