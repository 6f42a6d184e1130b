"""`FirewallPort` on the `nft` program: a document goes to `nft -f -` as one transaction; the frequent small ones, which
change elements only, to the kernel itself."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from typing import Any

from appliance.drivers.legacy_tables import legacy_objects
from appliance.drivers.nft_elements import SetElements, table_stands
from appliance.ports.firewall import FirewallError
from appliance.types.errors import PrivilegeError

_PLACE = re.compile(r"(?:/dev/stdin|<cmdline>|internal):(\d+):[\d-]+: (?:Error: )?(.*)")
_SHOWN = 160


class NftFirewall:
    """The host's nftables, in the network namespace of the calling thread; `here` False: the program is run in another,
    and all is left to it."""

    def __init__(self, program: str = "nft", *, here: bool = True) -> None:
        self._program = program
        self._here = here
        self._lock = asyncio.Lock()
        self._elements = SetElements()

    async def apply(self, document: str) -> None:
        async with self._lock:
            if self._here and await asyncio.to_thread(self._elements.apply, document):
                return
            code, _output, errors = await self._run("-f", "-", text=document)
            if code != 0:
                raise _error(errors, document)
            self._elements.note(document)

    async def ruleset(self) -> list[dict[str, Any]]:
        listed = await self._list("ruleset")
        return listed + await asyncio.to_thread(legacy_objects) if self._here else listed

    def stands(self, family: str, name: str) -> bool:
        return not self._here or table_stands(family, name)

    async def table(self, family: str, name: str) -> list[dict[str, Any]]:
        listed = await self._list("tables")
        places = [item["table"] for item in listed if "table" in item]
        if not any(place["family"] == family and place["name"] == name for place in places):
            return []
        return await self._list("table", family, name)

    async def _list(self, *what: str) -> list[dict[str, Any]]:
        code, output, errors = await self._run("-j", "-t", "-a", "list", *what)
        if code != 0:
            raise _error(errors, "")
        objects: list[dict[str, Any]] = json.loads(output)["nftables"] if output.strip() else []
        return [item for item in objects if "metainfo" not in item]

    async def _run(self, *arguments: str, text: str = "") -> tuple[int, str, str]:
        # In a thread: uvloop fails on a child that ends before its input is written. A cancelled caller leaves the
        # transaction to end by itself; it is atomic.
        try:
            done = await asyncio.to_thread(
                subprocess.run, (self._program, *arguments), input=text.encode(), capture_output=True, check=False
            )
        except FileNotFoundError as error:
            raise PrivilegeError(
                f"the program {self._program!r} is missing", mend="install the package nftables"
            ) from error
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def apply_now(document: str, program: str = "nft") -> None:
    """Apply a document in the network namespace of the calling thread, which waits. Raises as `NftFirewall.apply`."""
    try:
        done = subprocess.run((program, "-f", "-"), input=document.encode(), capture_output=True, check=False)
    except FileNotFoundError as error:
        raise PrivilegeError(f"the program {program!r} is missing", mend="install the package nftables") from error
    if done.returncode != 0:
        raise _error(done.stderr.decode(errors="replace"), document)


def _error(errors: str, document: str) -> FirewallError:
    """nft prints place, reason and a drawing; people need the first reason and the line it is about."""
    lines = [line for line in errors.splitlines() if line.strip()]
    first = lines[0] if lines else "no reason given"
    found = _PLACE.search(first)
    if found is None:
        return FirewallError(f"nft refused the rules: {first[:_SHOWN]}", mend=_mend(first))
    commands = document.splitlines()
    number = int(found[1])
    line = commands[number - 1].strip()[:_SHOWN] if 0 < number <= len(commands) else ""
    where = f" in: {line}" if line else ""
    return FirewallError(f"nft refused the rules: {found[2]}{where}", mend=_mend(first))


def _mend(reason: str) -> str:
    if "Operation not permitted" in reason:
        return "run with CAP_NET_ADMIN"
    if "Operation not supported" in reason or "Protocol not supported" in reason:
        return "the kernel lacks a part of nftables; load the modules nf_tables, nft_ct, nft_nat and nft_masq"
    return ""
