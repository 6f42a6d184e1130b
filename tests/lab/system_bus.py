"""A host with a D-Bus system bus and the real systemd-resolved or NetworkManager on it, though systemd is not PID 1.

The programs are Debian's, unpacked by `tools/setup.sh resolvers` below build/debian: installed, they would take the
machine's own resolver over.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.mounted_host import MountedHost
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from tests.lab.mesh import CommandResult
    from tests.lab.processes import Process

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = ROOT / "build/debian/root"
RESOLVED, NETWORK_MANAGER = DEBIAN / "lib/systemd/systemd-resolved", DEBIAN / "usr/sbin/NetworkManager"
BUS = "/run/dbus/system_bus_socket"
BUS_CONFIG = f"""<busconfig>
  <type>system</type>
  <listen>unix:path={BUS}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
"""
MOUNTS = """mount -t tmpfs tmpfs /var/lib
mkdir -p /run/dbus /run/systemd/resolve /run/systemd/netif /run/NetworkManager
mkdir -p /var/lib/NetworkManager
chown systemd-resolve:systemd-resolve /run/systemd/resolve
"""
RESOLVED_USER = 971
STUB = "# This is /run/systemd/resolve/stub-resolv.conf managed by man:systemd-resolved(8).\nnameserver 127.0.0.53\n"
MANAGER_SETTINGS = """[main]
plugins=keyfile
dns=default
rc-manager=file
auth-polkit=root-only
[keyfile]
unmanaged-devices=except:interface-name:{interface}
"""
CONNECTION = """[connection]
id=lan
uuid=5d6b3f66-7f3a-4a3e-9a2b-0a4a5a0f1c11
type=ethernet
interface-name={interface}
[ipv4]
method=manual
address1={address},{gateway}
dns={server};
[ipv6]
method=disabled
"""


def unpack_programs() -> str:
    """Have the programs there; why they are not, "" when they are."""
    done = subprocess.run([ROOT / "tools/setup.sh", "resolvers"], capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip()
    needed = subprocess.run(
        ["env", *_library_path(), "ldd", RESOLVED, NETWORK_MANAGER], capture_output=True, text=True, check=False
    )
    missing = [line.split()[0] for line in needed.stdout.splitlines() if "not found" in line]
    return f"this machine lacks {', '.join(missing)}" if missing else ""


@dataclass
class BusHost(MountedHost):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.environment = _library_path()
        with (self.etc / "passwd").open("a") as passwd, (self.etc / "group").open("a") as group:
            passwd.write(f"systemd-resolve:x:{RESOLVED_USER}:{RESOLVED_USER}::/:/usr/sbin/nologin\n")
            group.write(f"systemd-resolve:x:{RESOLVED_USER}:\n")
        (self.directory / "bus.conf").write_text(BUS_CONFIG)
        self.mount(MOUNTS)
        self.start("bus", "dbus-daemon", "--nofork", "--nopidfile", f"--config-file={self.directory}/bus.conf")
        wait_until(lambda: self.run("busctl", "--no-pager", "list").code == 0, 20, "the system bus")

    def resolved(self, server: str, *, multicast: bool = False) -> Process:
        """Start systemd-resolved, which asks `server` by itself; /etc/resolv.conf is its stub, as Debian has it.

        `multicast`: it speaks multicast DNS, too, and announces the services of /etc/systemd/dnssd.
        """
        folder = self.etc / "systemd"
        shutil.rmtree(folder / "resolved.conf.d", ignore_errors=True)
        folder.mkdir(exist_ok=True)
        settings = (
            f"[Resolve]\nDNS={server}\nFallbackDNS=\nDNSSEC=no\nLLMNR=no\nMulticastDNS={'yes' if multicast else 'no'}\n"
        )
        (folder / "resolved.conf").write_text(settings)
        (self.etc / "resolv.conf").write_text(STUB)
        started = self.start("resolved", str(RESOLVED))
        wait_until(lambda: self.resolvectl("status").code == 0, 20, "systemd-resolved")
        return started

    def resolvectl(self, *arguments: str) -> CommandResult:
        return self.run(str(DEBIAN / "usr/bin/resolvectl"), "--no-pager", *arguments)

    def network_manager(self, interface: str, address: str, gateway: str, server: str) -> Process:
        """Start NetworkManager, which manages one link and asks `server` there."""
        folder = self.etc / "NetworkManager/system-connections"
        folder.mkdir(parents=True, exist_ok=True)
        (folder.parent / "NetworkManager.conf").write_text(MANAGER_SETTINGS.format(interface=interface))
        connection = folder / "lan.nmconnection"
        connection.write_text(CONNECTION.format(interface=interface, address=address, gateway=gateway, server=server))
        connection.chmod(0o600)  # others are ignored
        started = self.start("network-manager", str(NETWORK_MANAGER), "--no-daemon")
        wait_until(lambda: server in self.resolv_conf(), 30, "NetworkManager's resolv.conf")
        return started


def _library_path() -> tuple[str, ...]:
    folders = [DEBIAN / part for part in ("lib/x86_64-linux-gnu/systemd", "usr/lib/x86_64-linux-gnu/systemd")]
    folders += [DEBIAN / part for part in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")]
    return (f"LD_LIBRARY_PATH={os.pathsep.join(map(str, folders))}",)
