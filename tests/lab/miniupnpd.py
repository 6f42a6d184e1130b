"""A home router that maps ports: miniupnpd on the NAT box of a site.

             internet ── nat-a ── LAN A
                          │  203.0.113.10 for masquerading, 192.0.1.10 for mapped ports
                          └─ miniupnpd: PCP, NAT-PMP (5351), UPnP IGD (1900, 5000)

miniupnpd refuses to map ports of addresses that are set aside for documentation, so the box has one that is not; it
exists in the lab's namespaces only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.namespaces import Namespace
    from tests.lab.processes import Process
    from tests.lab.topology import Site

OUTSIDE = "192.0.1.10"
OUTSIDE_NET = "192.0.1.0/24"
_CONFIG = """ext_ifname=wan
ext_ip={outside}
listening_ip=lan
http_port=5000
enable_upnp=yes
enable_natpmp=yes
secure_mode=yes
system_uptime=no
min_lifetime=120
max_lifetime=86400
uuid=6d0a3f3e-0d0c-4c0c-9d43-3c5f0f0e5a11
upnp_table_name=mapped
upnp_nat_table_name=mapped
upnp_forward_chain=maps_forward
upnp_nat_chain=maps_pre
upnp_nat_postrouting_chain=maps_post
allow 1024-65535 192.168.0.0/16 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
_TABLE = """add table inet mapped; delete table inet mapped
table inet mapped {
    chain forward { type filter hook forward priority -5; policy accept; jump maps_forward; }
    chain maps_forward { }
    chain prerouting { type nat hook prerouting priority -100; policy accept; jump maps_pre; }
    chain postrouting { type nat hook postrouting priority 90; policy accept; jump maps_post; }
    chain maps_pre { }
    chain maps_post { }
}
"""


@dataclass
class PortMappingRouter:
    """`start` after `prepare`; `restart` loses every mapping, as a power cut would."""

    site: Site
    directory: Path
    process: Process | None = None
    starts: int = 0
    outside: str = OUTSIDE

    def prepare(self) -> None:
        box = self.site.router
        box.ip(f"addr add {self.outside}/32 dev wan")
        box.nft("insert rule inet box forward ct status dnat accept")
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "miniupnpd.conf").write_text(_CONFIG.format(outside=self.outside))

    def start(self) -> None:
        self.starts += 1
        self.site.router.nft(_TABLE)
        self.process = self.site.router.start(
            f"miniupnpd-{self.starts}",
            "miniupnpd",
            "-d",
            "-f",
            str(self.directory / "miniupnpd.conf"),
            "-P",
            str(self.directory / f"miniupnpd-{self.starts}.pid"),
        )
        wait_until(self._listens, 20, "miniupnpd to listen")

    def _listens(self) -> bool:
        assert self.process is not None
        if not self.process.running:
            raise AssertionError(f"miniupnpd ended:\n{self.process.output()[-2000:]}")
        sockets = self.site.router.run("ss", "-lun")
        return ":5351" in sockets and ":1900" in sockets

    def stop(self) -> None:
        """Without a word, and its rules go too."""
        assert self.process is not None
        self.process.kill()
        self.site.router.nft(_TABLE)

    def restart(self) -> None:
        self.stop()
        self.start()

    def mapped(self) -> str:
        """Its rules that lead inside."""
        return self.site.router.run("nft", "list", "chain", "inet", "mapped", "maps_pre")


def knows_outside(*hosts: Namespace) -> None:
    """Let public hosts and NAT boxes reach the mapped address."""
    for host in hosts:
        interface = "br0" if host.name == "internet" else "wan" if host.name.startswith("nat-") else "eth0"
        host.ip(f"route add {OUTSIDE_NET} dev {interface}")
