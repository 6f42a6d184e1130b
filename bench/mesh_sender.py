"""Sends zeros to whoever connects, as fast as they are taken: python -m bench.mesh_sender ADDRESS PORT"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress

BLOCK = bytes(1 << 20)


def serve(listener: socket.socket) -> None:
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=_send, args=(stream,), daemon=True).start()


def _send(stream: socket.socket) -> None:
    with stream, suppress(OSError):
        while True:
            stream.sendall(BLOCK)


if __name__ == "__main__":
    with socket.create_server((sys.argv[1], int(sys.argv[2]))) as made:
        print("listening", flush=True)
        serve(made)
