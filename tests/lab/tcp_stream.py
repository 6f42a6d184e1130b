"""A TCP connection between two namespaces, both ends sockets of the test: whether data moves, and how it ends."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator

from tests.lab.namespaces import Namespace
from tests.lab.router_host import inside


class Stream:
    """A TCP connection from one address to a listener in another namespace."""

    def __init__(self, client: Namespace, source: str, server: Namespace, target: str, port: int = 7000) -> None:
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        with inside(server):
            listener = socket.create_server(("::" if ":" in target else "0.0.0.0", port), family=family)
        with inside(client), listener:
            self.client = socket.socket(family, socket.SOCK_STREAM)
            self.client.settimeout(5)
            self.client.bind((source, 0))
            self.client.connect((target, port))
            self.server, _ = listener.accept()
        self.client.setblocking(False)
        self.server.setblocking(False)

    def moves(self, timeout_s: float) -> bool:
        """Send as fast as it goes, both ways; whether the server got anything new from the client."""
        while self._read(self.server):
            pass
        until = time.monotonic() + timeout_s
        got = 0
        while time.monotonic() < until and got < 1 << 20:
            for end in (self.client, self.server):
                with contextlib.suppress(OSError):
                    end.send(bytes(65536))
            select.select([self.server, self.client], [], [], 0.02)
            got += self._read(self.server)
            self._read(self.client)
        return got > 0

    def stops(self) -> bool:
        """Whether nothing comes any more, once what was under way has come."""
        return any(not self.moves(0.4) for _ in range(10))

    @staticmethod
    def _read(end: socket.socket) -> int:
        try:
            return len(end.recv(1 << 20))
        except OSError:
            return 0

    def server_was_reset(self) -> bool:
        """The serving side sends, and learns that the flow is over."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                self.server.send(b"more")
                self.server.recv(1 << 20)
            except BlockingIOError:
                select.select([self.server], [], [], 0.05)
            except OSError:
                return True
        return False

    def close(self) -> None:
        self.client.close()
        self.server.close()


@contextlib.contextmanager
def stream(client: Namespace, source: str, server: Namespace, target: str, port: int = 7000) -> Iterator[Stream]:
    made = Stream(client, source, server, target, port)
    try:
        yield made
    finally:
        made.close()
