"""Debian's unbound as a resolver of others: it answers by UDP, TCP, TLS and HTTPS, and counts what came in which way.

`tools/setup.sh test` unpacks it below build/unbound: installed, it would serve at this machine's own port 53.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.mesh import CommandResult, command
from tests.lab.namespaces import LabError
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from tests.lab.namespaces import Namespace
    from tests.lab.processes import Process

PLACE = Path(__file__).resolve().parents[2] / "build/unbound/root/usr"
SETTINGS = """server:
    directory: "{folder}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    do-daemonize: no
    module-config: "iterator"
    extended-statistics: yes
    access-control: 0.0.0.0/0 allow
    access-control: ::/0 allow
    tls-service-pem: "{certificate}"
    tls-service-key: "{key}"
    http-endpoint: "/dns-query"
{lines}
remote-control:
    control-enable: yes
    control-use-cert: no
    control-interface: "{folder}/control.sock"
"""
PORTS = (53, 853, 443)


@dataclass
class Unbound:
    """`addresses` are the host's; `records` are in zone file form; `certificate` and its `key` are files."""

    host: Namespace
    folder: Path
    addresses: tuple[str, ...]
    records: Iterable[str]
    certificate: Path
    key: Path
    process: Process | None = None

    def start(self) -> None:
        """Also after `kill`."""
        if not self._program("unbound").exists():
            raise LabError(f"{self._program('unbound')} is missing: call tools/setup.sh test")
        self.folder.mkdir(exist_ok=True)
        lines = [f"interface: {address}@{port}" for address in self.addresses for port in PORTS]
        lines += ["local-zone: example. static", *(f"local-data: '{record}'" for record in self.records)]
        text = "\n".join(f"    {line}" for line in lines)
        made = SETTINGS.format(folder=self.folder, certificate=self.certificate, key=self.key, lines=text)
        self._settings.write_text(made)
        words = (str(self._program("unbound")), "-d", "-c", str(self._settings))
        self.process = self.host.start("unbound", "env", _library_path(), *words)
        wait_until(lambda: self._control("status").code == 0, 30, "unbound")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()

    def counters(self) -> dict[str, float]:
        """Since the last call."""
        lines = self._control("stats").stdout.split()
        return {name: float(number) for name, _, number in (line.partition("=") for line in lines)}

    @property
    def _settings(self) -> Path:
        return self.folder / "unbound.conf"

    def _control(self, *words: str) -> CommandResult:
        program = str(self._program("unbound-control"))
        return command(self.host, "env", _library_path(), program, "-c", str(self._settings), *words)

    def _program(self, name: str) -> Path:
        return PLACE / "sbin" / name


def _library_path() -> str:
    return f"LD_LIBRARY_PATH={os.pathsep.join(map(str, PLACE.glob('lib/*-linux-gnu')))}"
