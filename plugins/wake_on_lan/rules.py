"""Pure: hosts that can be woken, and what a person at a terminal means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from appliance.proto.wake_on_lan import normal_mac
from appliance.types.errors import DecodeError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_INTERFACE = re.compile(r"[^\s/]{1,15}")
_GATEWAY = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]{0,252}")
OPTIONS = ("--interface", "--via")


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to wake and where. `interface` "": on every attached network; `via` names another site's gateway, "": here.
    `name` is the configured one, "" for a bare hardware address."""

    mac: str
    name: str = ""
    interface: str = ""
    via: str = ""

    @property
    def label(self) -> str:
        return self.name or self.mac


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def parse_target(text: str, name: str = "") -> Target:
    """ "00:1a:2b:3c:4d:5e", "… on lan0", "… via gateway-b", or both. Raises `ValueError` with one clause."""
    mac, *words = text.split()[:6] or [""]
    try:
        target = Target(normal_mac(mac), name)
    except DecodeError as error:
        raise ValueError(f"{mac[:32]!r} is {error.text.partition(': ')[2]}") from None
    given = dict(zip(words[::2], words[1::2], strict=False))
    if len(words) % 2 or len(given) * 2 != len(words) or not set(given) <= {"on", "via"}:
        raise ValueError(f"{' '.join(words)[:64]!r} is not understood")
    return placed(target, given.get("on", ""), given.get("via", ""))


def placed(target: Target, interface: str, via: str) -> Target:
    """With another place where one is given. Raises `ValueError` with one clause."""
    if interface and not _INTERFACE.fullmatch(interface):
        raise ValueError(f"{interface[:32]!r} is no interface")
    if via and not _GATEWAY.fullmatch(via):
        raise ValueError(f"{via[:64]!r} is no gateway")
    return replace(target, interface=interface or target.interface, via=via or target.via)


def find_target(hosts: Mapping[str, Target], learned: Mapping[str, Target], arguments: Sequence[str]) -> Target:
    """HOST [--interface NAME] [--via GATEWAY]. Raises `ValueError` with one clause."""
    if not arguments or len(arguments) % 2 == 0 or not set(arguments[1::2]) <= set(OPTIONS):
        raise ValueError("usage: HOST [--interface NAME] [--via GATEWAY]")
    options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    wanted = arguments[0].lower()
    target = hosts.get(wanted) or learned.get(wanted)
    if target is None:
        try:
            target = Target(normal_mac(wanted))
        except DecodeError:
            known = ", ".join(sorted(hosts)) or "none"
            text = f"{wanted[:64]!r} is no hardware address and no host that is set or was seen; set are: {known}"
            raise ValueError(text) from None
    return placed(target, options.get("--interface", ""), options.get("--via", ""))
