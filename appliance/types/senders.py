"""Who sends, as a person names hosts of a site: by address or prefix, by hardware address, by their interface.

A hardware address stands for a host in both IP versions, whatever addresses it gives itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from appliance.types.addresses import Prefix, ordered

_HARDWARE = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
INTERFACE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}")
"""Names of interfaces that people give; the kernel takes stranger ones."""
_VERSIONS = (4, 6)


@dataclass(frozen=True, slots=True)
class Senders:
    """`hardware`: lower-case, with colons. All three are sorted and say nothing twice."""

    prefixes: tuple[Prefix, ...] = ()
    hardware: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.prefixes or self.hardware or self.interfaces)

    @property
    def versions(self) -> frozenset[int]:
        """IP versions in which somebody is named; a hardware address or an interface names somebody in both."""
        both = self.hardware or self.interfaces
        return frozenset(_VERSIONS if both else (prefix.version for prefix in self.prefixes))


def parse_senders(texts: Iterable[str]) -> Senders:
    """Raises ValueError with what is wrong, in one clause."""
    prefixes: set[Prefix] = set()
    hardware: set[str] = set()
    interfaces: set[str] = set()
    for text in texts:
        kept = text.strip()
        if _HARDWARE.fullmatch(kept.lower().replace("-", ":")):
            hardware.add(kept.lower().replace("-", ":"))
        elif (prefix := _prefix(kept)) is not None:
            prefixes.add(prefix)
        elif INTERFACE.fullmatch(kept):
            interfaces.add(kept)
        else:
            raise ValueError(f"{text[:64]!r} is no address, prefix, hardware address or interface")
    return Senders(ordered(prefixes), tuple(sorted(hardware)), tuple(sorted(interfaces)))


def _prefix(text: str) -> Prefix | None:
    """Raises ValueError for a prefix whose address has bits beyond it; None: it is no prefix at all."""
    try:
        return ip_network(text)
    except ValueError as error:
        if "host bits" in str(error):
            raise ValueError(f"{text[:64]!r} has bits set beyond its length") from None
        return None
