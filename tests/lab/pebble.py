"""Pebble, an ACME authority for tests, and its name server: real orders, validated over real HTTP on loopback."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from appliance.crypto.certificates import SEED_SIZE, self_signed
from appliance.ports.randomness import SystemRandomness
from tests.lab.control_process import free_port
from tests.lab.processes import Process, wait_until

REFUSED_NONCES = "30"
"""Per cent of the good ones: no order goes through without asking again."""


@dataclass
class Pebble:
    """Every name leads to loopback; it validates at `http_port` or `tls_port`. Certificates live `life_s`."""

    folder: Path
    life_s: int
    port: int = field(default_factory=free_port)
    manage_port: int = field(default_factory=free_port)
    dns_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    processes: list[Process] = field(default_factory=list)

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self.port}/dir"

    @property
    def ca_file(self) -> Path:
        """Vouches for the directory's own TLS."""
        return self.folder / "directory.pem"

    def start(self) -> None:
        """Also after `stop`: then with another root and without any account, as a new authority."""
        key_file, config = self.folder / "directory.key", self.folder / "pebble.json"
        if not self.ca_file.exists():
            now = datetime.now(UTC)
            seed = SystemRandomness().bytes(SEED_SIZE)
            pair = self_signed(["127.0.0.1"], now - timedelta(days=1), now + timedelta(days=30), seed)
            self.ca_file.write_bytes(pair.certificate_pem)
            key_file.write_bytes(pair.private_key_pem)
        settings = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.manage_port}",
            "certificate": str(self.ca_file),
            "privateKey": str(key_file),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "certificateValidityPeriod": self.life_s,
        }
        config.write_text(json.dumps({"pebble": settings}))
        names = ["-dns01", f"127.0.0.1:{self.dns_port}", "-management", f"127.0.0.1:{free_port()}"]
        names += ["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]
        command = ["pebble", "-config", str(config), "-dnsserver", f"127.0.0.1:{self.dns_port}"]
        manner = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": REFUSED_NONCES}
        self.processes = [
            Process.start("challtestsrv", ["pebble-challtestsrv", *names], self.folder),
            Process.start("pebble", command, self.folder, manner),
        ]
        wait_until(self._answers, 60, "pebble to answer")

    def _answers(self) -> bool:
        for process in self.processes:
            assert process.running, process.output()
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            socket.create_connection(("127.0.0.1", self.manage_port), 1).close()
        except OSError:
            return False
        return True

    def root(self) -> str:
        """PEM of the authority that issues."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        connection = http.client.HTTPSConnection("127.0.0.1", self.manage_port, context=context, timeout=20)
        try:
            connection.request("GET", "/roots/0")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def stop(self) -> None:
        for process in self.processes:
            process.stop()


@contextmanager
def running_pebble(folder: Path, life_s: int) -> Iterator[Pebble]:
    """Up for as long as the block runs."""
    folder.mkdir()
    pebble = Pebble(folder, life_s)
    try:
        pebble.start()
        yield pebble
    finally:
        pebble.stop()
