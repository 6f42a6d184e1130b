"""Applies the guard's table: in before the routes of an exit, out after them."""

from __future__ import annotations

from collections.abc import Callable

from appliance.ports.firewall import FirewallError, FirewallPort, NftTable, render_change, render_create, render_delete
from appliance.router.guard import render_guard
from appliance.router.model import GUARD_NAME, TABLE_FAMILY, RouterModel


class GuardKeeper:
    """Methods raise `FirewallError`. A table that another run left counts as unknown and is replaced or removed.

    `keep` takes the document that makes the table, "" when no exit is wanted any more: a boot wants it early.
    """

    def __init__(self, firewall: FirewallPort, keep: Callable[[str], None] = lambda _document: None) -> None:
        self._firewall = firewall
        self._keep = keep
        self._kept: str | None = None
        self._table: NftTable | None = None
        self._known = False
        """Whether the kernel holds `_table`."""

    async def close_in(self, model: RouterModel) -> None:
        """Before routes: a guard that the model wants stands."""
        wanted = render_guard(model)
        if wanted is None or (self._known and wanted == self._table):
            return
        if self._known and self._table is not None:
            try:
                if document := render_change(self._table, wanted):
                    await self._firewall.apply(document)
            except FirewallError:  # somebody changed it
                await self._firewall.apply(render_create(wanted))
        else:
            await self._firewall.apply(render_create(wanted))
        self._table, self._known = wanted, True
        self._record(render_create(wanted))

    async def open_up(self, model: RouterModel) -> None:
        """After routes: a guard that the model does not want goes."""
        if not model.has_guard:
            if not self._known and not await self._firewall.table(TABLE_FAMILY, GUARD_NAME):
                self._known = True
            await self.remove()
            self._record("")

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

    def _record(self, document: str) -> None:
        if document != self._kept:
            self._keep(document)
            self._kept = document
