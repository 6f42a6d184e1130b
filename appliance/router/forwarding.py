"""Kernel settings that a model needs: changed only where needed, written down before, given back at the end.

The journal holds, per key that we changed, the value before and ours; and the values that the kernel changes along with
it. A setting that somebody changed after us is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from appliance.ports.netlink import Route, RouteKind
from appliance.ports.sysctl import Journal, SysctlError, SysctlPort, SysctlUnansweredError
from appliance.router.model import RouterModel
from appliance.types.errors import ApplianceError
from appliance.types.ordered_prefixes import prefix_set

FORWARD_KEYS = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
DEVICE_KEY = "net/ipv4/conf/all/send_redirects"
"""The kernel turns it off for the whole host whenever a WireGuard device goes up, and never on again."""
_CONF = {4: "net/ipv4/conf", 6: "net/ipv6/conf"}


@dataclass(frozen=True, slots=True)
class Wish:
    """`key` shall have one of `fine`; if not, it is set to `value`."""

    key: str
    value: str
    fine: frozenset[str]


def uplinks(main_routes: Iterable[Route]) -> list[str]:
    """Interfaces of default routes."""
    found = (item for item in main_routes if item.destination.prefixlen == 0 and item.kind is RouteKind.UNICAST)
    return sorted({item.interface for item in found if item.interface})


def reaches_outside(model: RouterModel) -> bool:
    """Whether anything but the mesh itself is reached by the tunnel, or would be."""
    return model.guard is not None or prefix_set(model.routes).leaves_overlay


async def wishes(model: RouterModel, sysctl: SysctlPort, uplink_names: Iterable[str]) -> list[Wish]:
    """In the order in which they must be written (node-os spec 1.3, forwarding and reverse path)."""
    names = list(uplink_names)
    found: list[Wish] = []
    if 6 in model.forwards:
        for name in names:  # forwarding stops SLAAC unless accept_ra is 2
            key = f"{_CONF[6]}/{name}/accept_ra"
            if await sysctl.read(key) in ("1", "2"):
                found.append(Wish(key, "2", frozenset({"2"})))
    found += [Wish(FORWARD_KEYS[version], "1", frozenset({"1", "2"})) for version in sorted(model.forwards)]
    if reaches_outside(model):
        for name in names:  # replies to marked sockets must pass a strict reverse-path filter
            if await _strict(sysctl, name):
                found.append(Wish(f"{_CONF[4]}/{name}/src_valid_mark", "1", frozenset({"1"})))
    strict_all = await sysctl.read(f"{_CONF[4]}/all/rp_filter") == "1"  # the greater of both values counts
    fine = frozenset({"2"} if strict_all else {"0", "2"})
    return found + [Wish(f"{_CONF[4]}/{name}/rp_filter", "2", fine) for name in sidelong(model)]


def sidelong(model: RouterModel) -> Iterator[str]:
    """Interfaces by which answers come in though the main table does not lead there."""
    if model.exit_uplink is not None and model.exit_uplink.interface and model.exit_uplink.versions:
        yield model.exit_uplink.interface
    if model.guard is not None and model.guard.gateway_direct:
        yield model.interface


async def _strict(sysctl: SysctlPort, name: str) -> bool:
    values = [await sysctl.read(f"{_CONF[4]}/{each}/rp_filter") for each in ("all", name)]
    return max((int(value) for value in values if value and value.isdigit()), default=0) == 1


class SysctlKeeper:
    """Owns the journal."""

    def __init__(self, sysctl: SysctlPort, journal: Journal) -> None:
        self._sysctl = sysctl
        self._journal = journal
        self._entries: dict[str, dict[str, Any]] = {}

    async def ensure(self, wanted: Iterable[Wish]) -> list[str]:
        """Bring the wishes about and give back what is no longer wished. Returns what could not be done."""
        wish_list = list(wanted)
        kept = {wish.key for wish in wish_list}
        problems: list[str] = []
        try:
            await self._give_back([key for key in self._entries if key not in kept and key != DEVICE_KEY])
        except ApplianceError as error:
            problems.append(error.line())
        for wish in wish_list:
            try:
                await self._fulfil(wish)
            except ApplianceError as error:
                problems.append(error.line())
        return problems

    async def note_device(self, before: str | None) -> None:
        """`before` is the value of `DEVICE_KEY` before the device went up: it is given back at the end."""
        turned_off = before not in (None, "0") and await self._sysctl.read(DEVICE_KEY) == "0"
        if turned_off and DEVICE_KEY not in self._entries:
            self._entries[DEVICE_KEY] = {"before": before, "ours": "0"}
            self._save()

    async def restore(self) -> list[str]:
        """Give back everything, last change first. Returns the keys."""
        keys = list(self._entries)
        await self._give_back(keys)
        return keys

    def adopt(self) -> None:
        """Go on with what a former run wrote down and left."""
        stored = self._journal.load().get("sysctl", {})
        self._entries = dict(stored) if isinstance(stored, dict) else {}

    async def recover(self) -> list[str]:
        """Give back what a former run wrote down and left."""
        self.adopt()
        return await self.restore()

    async def _fulfil(self, wish: Wish) -> None:
        before = await self._sysctl.read(wish.key)
        if before in wish.fine:
            return
        if before is None:
            raise SysctlError(f"this kernel has no setting {wish.key.replace('/', '.')}")
        entry = self._entries.get(wish.key) or {"before": before, "along": await self._along(wish.key)}
        self._entries[wish.key] = {**entry, "ours": wish.value}
        self._save()
        try:
            await self._sysctl.write(wish.key, wish.value)
        except SysctlUnansweredError:
            raise  # the entry stays: what is written later shall be given back, too
        except SysctlError:
            del self._entries[wish.key]
            self._save()
            raise

    async def _along(self, key: str) -> dict[str, str]:
        """Settings that the kernel changes when a forwarding switch is written."""
        version = next((number for number, name in FORWARD_KEYS.items() if name == key), 0)
        if not version:
            return {}
        keys = [f"{_CONF[version]}/{name}/forwarding" for name in await self._sysctl.children(_CONF[version])]
        keys += [f"{_CONF[4]}/all/accept_redirects"] if version == 4 else []
        values = {each: await self._sysctl.read(each) for each in keys if each != key}
        return {each: value for each, value in values.items() if value is not None}

    async def _give_back(self, keys: list[str]) -> None:
        for key in reversed(keys):
            entry = self._entries.pop(key)
            if await self._sysctl.read(key) != entry.get("ours"):
                continue
            for name, value in {key: entry.get("before"), **entry.get("along", {})}.items():
                if value is not None and await self._sysctl.read(name) not in (None, value):
                    await self._write_quietly(name, value)
        if keys:
            self._save()

    async def _write_quietly(self, key: str, value: str) -> None:
        """An interface may go between reading and writing; then there is nothing to give back. The kernel's own change
        stays where nobody may write settings."""
        try:
            await self._sysctl.write(key, value)
        except SysctlError:
            if key != DEVICE_KEY and await self._sysctl.read(key) is not None:
                raise

    def _save(self) -> None:
        self._journal.save({"sysctl": self._entries} if self._entries else {})
