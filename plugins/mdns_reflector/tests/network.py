"""Two sites in memory: reflectors joined by a tunnel, LANs on which everybody hears everything."""

from __future__ import annotations

from appliance.proto.dns.numbers import PTR, SRV, TXT, A
from appliance.proto.mdns import Message, Question, Record, encode_messages, name_of, parse_message
from plugins.mdns_reflector.reflector import Reflector

IPP = "_ipp._tcp"
TYPE = name_of(f"{IPP}.local")
INSTANCE = name_of(f"Printer.{IPP}.local")
HOST = name_of("host-b.local")
ADDRESS = bytes((192, 168, 20, 10))


def question(name: bytes = TYPE, qtype: int = PTR, qclass: int = 1) -> bytes:
    (datagram,) = encode_messages(Message(False, questions=(Question(name, qtype, qclass),)))
    return datagram


def announcement(ttl: int = 120, instance: bytes = INSTANCE, service: bytes = TYPE) -> bytes:
    records = (
        Record(service, PTR, 1, ttl, instance),
        Record(instance, SRV, 0x8001, ttl, bytes((0, 0, 0, 0, 2, 119)) + HOST),
        Record(instance, TXT, 0x8001, ttl, b"\x08ty=Laser"),
        Record(HOST, A, 0x8001, ttl, ADDRESS),
    )
    (datagram,) = encode_messages(Message(True, answers=records))
    return datagram


def said(datagrams: list[bytes]) -> Message:
    (datagram,) = datagrams
    return parse_message(datagram)


class Mesh:
    """`lans` names the reflectors of each LAN; every reflector names all those of other LANs as its sites.

    `traffic` counts datagrams on each LAN, those of hosts included; a loop would never end (`LIMIT`).
    """

    LIMIT = 500

    def __init__(self, lans: dict[str, tuple[str, ...]], services: dict[str, tuple[str, ...]] | None = None) -> None:
        self.lan_of = {gateway: lan for lan, gateways in lans.items() for gateway in gateways}
        chosen = services or {}
        self.reflectors = {gateway: Reflector(chosen.get(gateway, (IPP,))) for gateway in self.lan_of}
        self.heard: dict[str, list[bytes]] = {lan: [] for lan in lans}
        self.now = 100.0

    def speak(self, lan: str, datagram: bytes, sender: str = "") -> None:
        """Somebody says it; everything that follows from it happens."""
        waiting: list[tuple[str, bytes, str]] = [(lan, datagram, sender)]
        while waiting:
            lan, datagram, sender = waiting.pop(0)
            self.heard[lan].append(datagram)
            assert sum(map(len, self.heard.values())) < self.LIMIT, "it goes round"
            for gateway in [name for name, home in self.lan_of.items() if home == lan]:  # the sender hears itself, too
                for told in self.reflectors[gateway].receive_from_lan(datagram, lan, self.now):
                    for other in [name for name, home in self.lan_of.items() if home != lan]:
                        spoken = self.reflectors[other].receive_from_site(told, gateway, self.now)
                        waiting += [(self.lan_of[other], each, other) for each in spoken]
            self.now += 0.002
