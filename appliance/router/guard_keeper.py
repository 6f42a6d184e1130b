"""Applies the guard's table: in before the routes of an exit, out after them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from appliance.ports.firewall import FirewallError, FirewallPort, NftTable, render_change, render_create, render_delete
from appliance.router.guard import render_guard
from appliance.router.model import GUARD_NAME, TABLE_FAMILY, RouterModel


class GuardKeeper:
    """Methods raise `FirewallError`. A table that another run left counts as unknown and is replaced or removed.

    `keep` takes the document that makes the table, "" when no exit is wanted any more: a boot wants it early. It is
    called in another thread, once at a time.
    """

    def __init__(self, firewall: FirewallPort, keep: Callable[[str], None] = lambda _document: None) -> None:
        self._firewall = firewall
        self._keep = keep
        self._document: str | None = None
        self._kept: str | None = None
        self._writing: asyncio.Future[None] | None = None
        self._table: NftTable | None = None
        self._known = False
        """Whether the kernel holds `_table`."""

    async def close_in(self, model: RouterModel) -> None:
        """Before routes: a guard that the model wants stands."""
        wanted = render_guard(model)
        if wanted is None or (self._known and wanted == self._table):
            return
        document = render_create(wanted)
        if self._known and self._table is not None:
            try:
                if change := render_change(self._table, wanted):
                    await self._firewall.apply(change)
            except FirewallError:  # somebody changed it
                await self._firewall.apply(document)
        else:
            await self._firewall.apply(document)
        self._table, self._known, self._document = wanted, True, document
        await self.settle()

    async def open_up(self, model: RouterModel) -> None:
        """After routes: a guard that the model does not want goes."""
        if not model.has_guard:
            if not self._known and not await self._firewall.table(TABLE_FAMILY, GUARD_NAME):
                self._known = True
            await self.remove()
            self._document = ""
        await self.settle()

    def stands(self) -> bool:
        """Whether the wanted guard is there."""
        return self._table is None or self._firewall.stands(TABLE_FAMILY, GUARD_NAME)

    async def repair(self) -> None:
        """Put back what others removed."""
        if self._table is not None and not await self._firewall.table(TABLE_FAMILY, GUARD_NAME):
            await self._firewall.apply(render_create(self._table))

    async def remove(self) -> None:
        """Whether or not it stands. The next boot has it again, unless `open_up` came before."""
        if not self._known or self._table is not None:
            await self._firewall.apply(render_delete(TABLE_FAMILY, GUARD_NAME))
        self._table, self._known = None, True

    async def settle(self) -> None:
        """What a boot loads is on disk. A write goes on when its caller is cancelled, and the next one waits for it."""
        if self._writing is not None:
            await asyncio.shield(self._writing)
        if self._document is not None and self._document != self._kept:
            self._kept = self._document
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._keep, self._document)
            await asyncio.shield(self._writing)
