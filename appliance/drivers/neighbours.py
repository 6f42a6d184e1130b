"""Hardware addresses of IPv4 neighbours, from the kernel's own list (proc(5), /proc/net/arp)."""

from __future__ import annotations

from pathlib import Path

from appliance.proto.wake_on_lan import normal_mac
from appliance.types.errors import DecodeError

ARP = Path("/proc/net/arp")
_COMPLETE = 0x2
_COLUMNS = 6
MAX_ENTRIES = 4096


def read_neighbours(path: Path = ARP) -> list[tuple[str, str, str]]:
    """Address, hardware address and interface of each that answered; none where the list cannot be read."""
    try:
        lines = path.read_text().splitlines()[1 : MAX_ENTRIES + 1]
    except OSError:
        return []
    return [found for line in lines if (found := _neighbour(line.split())) is not None]


def _neighbour(columns: list[str]) -> tuple[str, str, str] | None:
    if len(columns) != _COLUMNS:
        return None
    address, _, flags, mac, _, interface = columns
    try:
        return (address, normal_mac(mac), interface) if int(flags, 16) & _COMPLETE else None
    except (DecodeError, ValueError):
        return None
