"""Applies the guard's table: in before the routes of an exit, out after them."""

from __future__ import annotations

from appliance.ports.firewall import FirewallError, FirewallPort, NftTable, render_change, render_create, render_delete
from appliance.router.guard import render_guard
from appliance.router.model import GUARD_NAME, TABLE_FAMILY, RouterModel


class GuardKeeper:
    """Methods raise `FirewallError`. A table that another run left counts as unknown and is replaced or removed."""

    def __init__(self, firewall: FirewallPort) -> None:
        self._firewall = firewall
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

    async def open_up(self, model: RouterModel) -> None:
        """After routes: a guard that the model does not want goes."""
        if not model.has_guard:
            if not self._known and not await self._firewall.table(TABLE_FAMILY, GUARD_NAME):
                self._known = True
            await self.remove()

    async def repair(self) -> None:
        """Put back what others removed."""
        if self._table is not None and not await self._firewall.table(TABLE_FAMILY, GUARD_NAME):
            await self._firewall.apply(render_create(self._table))

    async def remove(self) -> None:
        """Whether or not it stands."""
        if not self._known or self._table is not None:
            await self._firewall.apply(render_delete(TABLE_FAMILY, GUARD_NAME))
        self._table, self._known = None, True
