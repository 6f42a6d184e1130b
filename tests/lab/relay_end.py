"""The two ends of a relay in a lab, as programs.

python -m tests.lab.relay_end send PACKETS      JSON, a list of datagrams: raw, with full checksums, or by offload
python -m tests.lab.relay_end receive ENDS      JSON, a list of "ip:port"; prints what comes, a JSON line each
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys
from typing import Any

from appliance.types.addresses import AddrPort, parse_addr_port

_UDP_SEGMENT = 103


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF or 0xFFFF


def udp(source: AddrPort, to: AddrPort, payload: bytes, *, corrupt: bool) -> bytes:
    """With a checksum of its own, so that whoever gets it checks it (no offload)."""
    length = 8 + len(payload)
    head = struct.pack("!HHHH", source.port, to.port, length, 0)
    pseudo = source.address.packed + to.address.packed + struct.pack("!IHBB", length, 0, 0, socket.IPPROTO_UDP)
    found = checksum(pseudo + head + payload) ^ (1 if corrupt else 0)
    return head[:6] + struct.pack("!H", found) + payload


def send(packet: dict[str, Any]) -> None:
    """`from`, `to`, `payload` (hex), `count`; `segment` sends by offload, `corrupt` with a wrong checksum."""
    source, to = parse_addr_port(packet["from"]), parse_addr_port(packet["to"])
    payload = bytes.fromhex(packet["payload"])
    family = socket.AF_INET6 if to.is_v6 else socket.AF_INET
    if packet.get("segment"):
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind(source)
            control = [(socket.SOL_UDP, _UDP_SEGMENT, struct.pack("=H", packet["segment"]))]
            sock.sendmsg([payload], control, 0, to)
        return
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP) as sock:
        sock.bind((source.ip, 0))
        data = udp(source, to, payload, corrupt=packet.get("corrupt", False))
        for _ in range(packet.get("count", 1)):
            sock.sendto(data, (to.ip, 0))


def receive(ends: list[str]) -> None:
    with selectors.DefaultSelector() as selector:
        for text in ends:
            end = parse_addr_port(text)
            sock = socket.socket(socket.AF_INET6 if end.is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)
            sock.bind(end)
            selector.register(sock, selectors.EVENT_READ, text)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                data, source = key.fileobj.recvfrom(65535)
                print(json.dumps([key.data, str(AddrPort(source[0], source[1])), data.hex()]), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "send":
        for each in json.loads(sys.argv[2]):
            send(each)
    else:
        receive(json.loads(sys.argv[2]))
