"""Looks a name up past the tunnel: straight at the host's resolvers, by sockets that carry the bypass mark.

For the daemon's own servers only, when the ordinary way does not answer: while an exit is in use the ordinary way may
lead through the very exit that is lost.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from appliance.ports.randomness import Randomness
from appliance.proto.dns.build import build_query
from appliance.proto.dns.names import encode_name
from appliance.proto.dns.numbers import AAAA, IN, A
from appliance.proto.dns.reply import parse_reply
from appliance.types.addresses import SERVICE_V4, Address, is_overlay, literal
from appliance.types.errors import DecodeError

FILES = tuple(map(Path, ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf.before-waypost", "/etc/resolv.conf")))
"""Where the resolvers of the network stand: those behind a local stub or behind our own resolver first."""
MAX_SERVERS = 3
MAX_FILE_BYTES = 65536
LIMIT_S = 1.5
"""For all of it: the servers are asked at once."""
PORT = 53

OpenSocket = Callable[[int, int], socket.socket]


def nameservers(files: Iterable[Path] = FILES) -> tuple[Address, ...]:
    """Of the first file that names any outside this host and the mesh."""
    for file in files:
        try:
            with file.open(errors="replace") as opened:
                lines = opened.read(MAX_FILE_BYTES).splitlines()
        except OSError:
            continue
        words = [line.split() for line in lines]
        found = [_server(each[1]) for each in words if len(each) > 1 and each[0] == "nameserver"]
        usable = tuple(dict.fromkeys(address for address in found if address is not None))
        if usable:
            return usable[:MAX_SERVERS]
    return ()


def _server(text: str) -> Address | None:
    address = literal(text)
    if address is None:
        return None
    outside = not (address.is_loopback or is_overlay(address) or address == SERVICE_V4 or address.is_link_local)
    return address if outside else None


async def look_up(
    host: str, servers: Iterable[Address], randomness: Randomness, sockets: OpenSocket, port: int = PORT
) -> tuple[Address, ...]:
    """Addresses of a name, IPv4 first; empty when nobody answers with any. Never raises OSError."""
    try:
        name = encode_name(host.rstrip("."))
    except (DecodeError, UnicodeError, ValueError):
        return ()
    async with asyncio.TaskGroup() as group:
        asked = [
            [group.create_task(_ask(name, kind, server, randomness, sockets, port)) for kind in (A, AAAA)]
            for server in servers
        ]
    answers = (tuple(address for task in tasks for address in task.result()) for tasks in asked)
    return next((each for each in answers if each), ())


async def _ask(
    name: bytes, kind: int, server: Address, randomness: Randomness, sockets: OpenSocket, port: int
) -> tuple[Address, ...]:
    """One question at one server; the datagram must answer just this question."""
    number = int.from_bytes(randomness.bytes(2), "big")
    question = name + struct.pack(">HH", kind, IN)
    key = name.lower() + question[-4:]
    query = build_query(number, question, dnssec_ok=False, checking_disabled=False)
    family = socket.AF_INET if server.version == 4 else socket.AF_INET6
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LIMIT_S):
            with sockets(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                await loop.sock_connect(sock, (str(server), port))
                await loop.sock_sendall(sock, query)
                while True:
                    found = _answer(await loop.sock_recv(sock, 4096), number, key)
                    if found is not None:
                        return found
    except (OSError, TimeoutError):
        return ()


def _answer(data: bytes, number: int, key: bytes) -> tuple[Address, ...] | None:
    """None: not the answer to this question."""
    try:
        reply = parse_reply(data)
    except DecodeError:
        return None
    if (reply.id, reply.key) != (number, key):
        return None
    return tuple(address for _, address, _ in reply.addresses())
