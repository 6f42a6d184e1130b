"""Asks a resolver at 127.0.0.1 as fast as it answers; prints questions per second and p99 of the wait in ms, as JSON.

python -m bench.dns_load PORT SECONDS NAMES PREFIX    NAMES 0: each question is for a new name
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from itertools import count
from statistics import quantiles

WINDOW = 64
"""Questions on their way at one time."""
PATIENCE_S = 2.0
_TAIL = struct.pack(">HH", 1, 1)


def question(name: str) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0) + labels + b"\0" + _TAIL


def load(port: int, seconds: float, names: int, prefix: str) -> dict[str, float]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    known = [question(f"{prefix}{number}.bench.example") for number in range(names)]
    numbers, sent, waits = count(), dict[int, float](), list[float]()

    def ask() -> None:
        number = next(numbers)
        message = known[number % names] if names else question(f"{prefix}{number}.bench.example")
        sent[number & 0xFFFF] = time.perf_counter()
        sock.send((number & 0xFFFF).to_bytes(2, "big") + message)

    started = time.perf_counter()
    for _ in range(WINDOW):
        ask()
    while (now := time.perf_counter()) < started + seconds:
        if not select.select([sock], [], [], PATIENCE_S)[0]:
            raise SystemExit(f"no answer for {PATIENCE_S} s: {len(sent)} are missing")
        try:
            for _ in range(WINDOW):
                reply = sock.recv(4096)
                asked = sent.pop(int.from_bytes(reply[:2], "big"), None)
                if asked is not None:
                    assert reply[3] & 0xF == 0, "an error instead of an answer"
                    waits.append(time.perf_counter() - asked)
                    ask()
        except BlockingIOError:
            continue
    return {"per_s": len(waits) / (now - started), "p99_ms": 1000 * quantiles(waits, n=100)[98]}


if __name__ == "__main__":
    print(json.dumps(load(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))
