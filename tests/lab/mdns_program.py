"""A host that speaks multicast DNS, by dnspython: `mdns_program.py ADDRESS serve NAME [MORE...] | listen | ask TYPE`.

It speaks on eth0 by the IP version of ADDRESS. `serve`: answers for one printer called NAME, at port 631 of this host,
whose addresses are ADDRESS and MORE. `ask`: asks once a second for instances of TYPE and their hosts, and prints each
record. `listen`: prints each message that is heard.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

GROUPS, PORT, INTERFACE = {False: "224.0.0.251", True: "ff02::fb"}, 5353, "eth0"
SERVICE = "_ipp._tcp.local."


def member(address: str) -> socket.socket:
    is_v6 = ":" in address
    opened = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.settimeout(1.0)
    group = socket.inet_pton(opened.family, GROUPS[is_v6])
    if is_v6:
        index = socket.if_nametoindex(INTERFACE)
        opened.bind((GROUPS[is_v6], PORT, 0, index))
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", index))
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        return opened
    opened.bind((GROUPS[is_v6], PORT))
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + socket.inet_aton(address))
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    return opened


def say(opened: socket.socket, wire: bytes) -> None:
    opened.sendto(wire, (GROUPS[opened.family == socket.AF_INET6], PORT))


def heard(opened: socket.socket) -> dns.message.Message | None:
    try:
        return dns.message.from_wire(opened.recv(9000), raise_on_truncation=False)
    except TimeoutError:
        return None


def records(name: str, addresses: tuple[str, ...]) -> list[dns.rrset.RRset]:
    instance, host = f"{name}.{SERVICE}", f"{name.lower()}.local."
    secret = f"{name}._ssh._tcp.local."
    return [
        dns.rrset.from_text(SERVICE, 4500, "IN", "PTR", instance),
        dns.rrset.from_text(instance, 120, "IN", "SRV", f"0 0 631 {host}"),
        dns.rrset.from_text(instance, 4500, "IN", "TXT", '"ty=Laser"'),
        *(dns.rrset.from_text(host, 120, "IN", "AAAA" if ":" in each else "A", each) for each in addresses),
        dns.rrset.from_text("_ssh._tcp.local.", 4500, "IN", "PTR", secret),
        dns.rrset.from_text(secret, 120, "IN", "SRV", f"0 0 22 {host}"),
    ]


def serve(opened: socket.socket, name: str, addresses: tuple[str, ...]) -> None:
    known = records(name, addresses)
    while True:
        message = heard(opened)
        asked = {str(each.name).lower() for each in message.question} if message is not None else set()
        if message is None or message.flags & dns.flags.QR or not asked & {str(each.name).lower() for each in known}:
            continue
        reply = dns.message.Message(0)
        reply.flags = dns.flags.QR | dns.flags.AA
        reply.answer = known
        say(opened, reply.to_wire())


def ask(opened: socket.socket, service: str) -> None:
    query = dns.message.make_query(service, dns.rdatatype.PTR)
    query.id = query.flags = 0
    wire = query.to_wire()
    wire = wire[:-2] + struct.pack(">H", 0x8001)  # a unicast answer would be welcome
    asked = 0.0
    while True:
        if time.monotonic() - asked >= 1.0:
            asked = time.monotonic()
            say(opened, wire)
        show(heard(opened))


def show(message: dns.message.Message | None) -> None:
    if message is None:
        return
    if not message.flags & dns.flags.QR:
        print("?", *(str(each.name) for each in message.question), flush=True)
    for rrset in (*message.answer, *message.additional):
        print("!", rrset.to_text().replace("\n", "\n! "), flush=True)


def main(address: str, verb: str, *rest: str) -> None:
    opened = member(address)
    print("ready", flush=True)
    if verb == "serve":
        serve(opened, rest[0], (address, *rest[1:]))
    elif verb == "ask":
        ask(opened, rest[0])
    while True:
        show(heard(opened))


main(*sys.argv[1:])
