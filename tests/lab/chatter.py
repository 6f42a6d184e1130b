"""A program that never stops trying to get out: TCP, UDP and DNS-like packets to the given addresses, both versions.

python chatter.py 203.0.113.2 2001:db8::2
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time

PAUSE_S = 0.02


def main() -> None:
    targets = sys.argv[1:]
    print("chattering", flush=True)
    while True:
        for address in targets:
            _say(address)
        time.sleep(PAUSE_S)  # between two rounds of a load, not a wait


def _say(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", (address, 9999))
        sock.sendto(b"\0\1\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0\1", (address, 53))
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        sock.connect((address, 80))


if __name__ == "__main__":
    main()
