"""`Router`: applies models to the host, one at a time, only what differs; keeps the old state when the new one fails.

Order: guard, packet filter, device, addresses, routes and rules, kernel settings; so nothing passes before its filter
stands. A guard that is given up goes last, after the routes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NoReturn

from appliance.ports.clock import Clock, SystemClock
from appliance.ports.conntrack import ConntrackPort, Flow
from appliance.ports.firewall import FirewallError, FirewallPort, NftTable, render_change, render_create, render_delete
from appliance.ports.netlink import TABLE_MAIN, Link, NetlinkError, NetlinkItem, NetlinkPort, QueueTraffic
from appliance.ports.sysctl import Journal, SysctlError, SysctlPort
from appliance.router.compile import CompiledFilter, FilterCompiler
from appliance.router.flows import Openings, Withdrawals
from appliance.router.foreign import ForeignDrop, closing_document, find_drops, opening_document
from appliance.router.forwarding import DEVICE_KEY, SysctlKeeper, reaches_outside, sidelong, uplinks, wishes
from appliance.router.guard_keeper import GuardKeeper
from appliance.router.model import (
    GUARD_NAME,
    MARK_FORWARDED,
    MARK_MASK,
    TABLE_FAMILY,
    TABLE_NAME,
    ForeignMode,
    RouterModel,
)
from appliance.router.rate_keeper import RateKeeper
from appliance.router.routes import TABLES, desired, difference, netlink_inputs, ours, route_changes
from appliance.router.ruleset import TableRenderer, compile_filter, log_probe, render_ended
from appliance.types.errors import ApplianceError, Severity
from appliance.types.events import HealthChanged
from appliance.types.token_bucket import TokenBucket

REPAIR_DELAY_S = 0.25
REPAIR_EVERY_S = 5.0
REPAIR_BURST = 10


class RouterError(ApplianceError):
    """The host could not be brought into the wished state; the former one stands."""

    code = "router"
    severity = Severity.HIGH


class Router:
    """One per gateway. Methods may be called at any time; they wait for each other."""

    def __init__(
        self,
        netlink: NetlinkPort,
        firewall: FirewallPort,
        sysctl: SysctlPort,
        journal: Journal,
        *,
        conntrack: ConntrackPort | None = None,
        health: Callable[[HealthChanged], None] = lambda _event: None,
        clock: Clock | None = None,
        keep_guard: Callable[[str], None] = lambda _document: None,
    ) -> None:
        self._netlink = netlink
        self._firewall = firewall
        self._sysctl = sysctl
        self._conntrack = conntrack
        self._keeper = SysctlKeeper(sysctl, journal)
        self._guard = GuardKeeper(firewall, keep_guard)
        self._health = _HealthReporter(health)
        self._clock = clock or SystemClock()
        self._repairs = TokenBucket(1 / REPAIR_EVERY_S, REPAIR_BURST)
        self._lock = asyncio.Lock()
        self._model: RouterModel | None = None
        self._table: NftTable | None = None
        self._compiler = FilterCompiler()
        self._renderer = TableRenderer()
        self._compiled: CompiledFilter | None = None
        self._withdrawals = Withdrawals()
        self._flows_wait = asyncio.Event()
        self._installed: dict[NetlinkItem, None] = {}
        self._installed_for: tuple[RouterModel, tuple[int, ...]] = RouterModel(), ()
        self._link: Link | None = None
        self._opened = False
        self._rates = RateKeeper(netlink, self._health.say)

    @property
    def model(self) -> RouterModel | None:
        """What is applied now."""
        return self._model

    async def apply(self, model: RouterModel) -> None:
        """Bring the host into this state. Raises `ApplianceError`; then the former state stands."""
        async with self._lock:
            compiled, table, openings = await asyncio.to_thread(self._compile, model)
            before = self._model, self._table
            await self._guard.close_in(model)
            await self._apply_table(table)
            try:
                await self._apply_netlink(model)
            except ApplianceError as error:
                await self._roll_back(model.interface, *before)
                raise RouterError(f"network set-up failed: {error.text}", mend=error.mend) from error
            self._model, self._compiled = model, compiled
            await self._guard.open_up(model)
            if self._withdrawals.follow(openings):
                self._flows_wait.set()
            if before[0] is None or _settings_inputs(before[0]) != _settings_inputs(model):
                await self._apply_settings(model)
            if before[0] is None or _foreign_inputs(before[0]) != _foreign_inputs(model):
                await self._treat_foreign(model)
            self._health.say(
                "invalid-packet-filter", "; ".join(compiled.problems[:3]), "check the policy on the control server"
            )

    async def guard(self, model: RouterModel) -> None:
        """Bring only the guard of this model about, before the first `apply`: one that a run before left is taken over,
        or removed where it is not wanted any more. Raises `FirewallError`."""
        async with self._lock:
            await self._guard.close_in(model)
            await self._guard.open_up(model)

    def stands(self) -> bool:
        """Whether the tables that were applied are still there: without them everything passes. Quick."""
        if self._table is None or self._lock.locked():
            return True
        return self._firewall.stands(TABLE_FAMILY, TABLE_NAME) and self._guard.stands()

    async def repair(self) -> None:
        """Put back what others removed: rules, routes, addresses, our table, openings. For every link change."""
        async with self._lock:
            if self._model is None or self._table is None:
                return
            await self._guard.repair()
            if not await self._firewall.table(TABLE_FAMILY, TABLE_NAME):
                await self._firewall.apply(render_create(self._table))
            self._link = None
            await self._apply_netlink(self._model)
            await self._apply_settings(self._model)
            await self._treat_foreign(self._model)

    async def repair_soon(self) -> bool:
        """For a policy rule that vanished: repair after 250 ms, at most one in 5 s with a burst of 10.

        Some network managers delete rules that are not theirs. False when the budget is used up.
        """
        if not self._repairs.take(self._clock.now()):
            self._health.say("router-contended", "another program keeps deleting our policy rules", _CONTENDED_MEND)
            return False
        await asyncio.sleep(REPAIR_DELAY_S)
        await self.repair()
        return True

    async def close(self, *, guard: bool = True) -> None:
        """Remove everything that `apply` made. Goes on past failures and raises the first one at the end.

        Without `guard` an exit's guard stays, for the next run to take over.
        """
        async with self._lock:
            failures: list[ApplianceError] = []
            model, self._model = self._model, None
            self._withdrawals = Withdrawals()
            self._flows_wait.clear()
            if model is not None:
                with _noting(failures):
                    await self._withdraw(model.interface)
                with _noting(failures):
                    await self._close_foreign()
            with _noting(failures):
                await self._keeper.restore()
            with _noting(failures):
                if self._table is not None:
                    await self._firewall.apply(render_delete(TABLE_FAMILY, TABLE_NAME))
                    self._table = None
            if guard:
                with _noting(failures):
                    await self._guard.remove()
            await self._guard.settle()
            if failures:
                raise RouterError(f"could not remove everything: {failures[0].text}", mend=failures[0].mend)

    async def device_setting(self) -> str | None:
        """To be read before the engine makes the device, and told to `note_device` when the device is up."""
        return await self._sysctl.read(DEVICE_KEY)

    async def note_device(self, before: str | None) -> None:
        """What the kernel changes when the device goes up is given back at the end. After `adopt` or `clean_stale`."""
        await self._keeper.note_device(before)

    def adopt(self) -> None:
        """Before the first `apply`: a run that crashed left the host forwarding, and this run goes on with it."""
        self._keeper.adopt()
        self._opened = True

    async def clean_stale(self, interface: str = "waypost0", *, guard: bool = False) -> tuple[str, ...]:
        """Remove what a run that crashed left. Returns, in words, what that was.

        An exit's guard stays, for the next run to take over, unless `guard` says so.
        """
        async with self._lock:
            cleaned = [f"setting {key.replace('/', '.')}" for key in await self._keeper.recover()]
            stale = [*await self._held(interface)]
            await self._netlink.apply(list(reversed(stale)), [])
            cleaned += [str(item) for item in stale]
            if document := closing_document(await self._firewall.ruleset()):
                await self._firewall.apply(document)
                cleaned.append("openings in other firewalls")
            if await self._firewall.table(TABLE_FAMILY, TABLE_NAME):
                await self._firewall.apply(render_delete(TABLE_FAMILY, TABLE_NAME))
                cleaned.append(f"nftables table {TABLE_FAMILY} {TABLE_NAME}")
            if guard and await self._firewall.table(TABLE_FAMILY, GUARD_NAME):
                await self._guard.remove()
                cleaned.append(f"nftables table {TABLE_FAMILY} {GUARD_NAME}")
            return tuple(cleaned)

    async def can_log(self, group: int) -> bool:
        """Whether the kernel can show refused packets in a group of its log."""
        probe = log_probe(group)
        try:
            await self._firewall.apply(render_create(probe) + render_delete(probe.family, probe.name))
        except ApplianceError:
            return False
        return True

    async def shape_traffic(self) -> dict[str, QueueTraffic]:
        """What each shape of the model with a name did since it holds. Raises `NetlinkError`."""
        async with self._lock:
            return await self._rates.traffic(self._model.interface) if self._model is not None else {}

    async def foreign_drops(self) -> tuple[ForeignDrop, ...]:
        """Chains of other firewalls that drop what comes through the tunnel."""
        interface = self._model.interface if self._model is not None else "waypost0"
        return tuple(find_drops(await self._firewall.ruleset(), interface))

    def _compile(self, model: RouterModel) -> tuple[CompiledFilter, NftTable, Openings]:
        """What the former model has in common with this one is not made again."""
        former, compiled, table = self._model, self._compiled, self._table
        if former is None or compiled is None or _filter_inputs(former) != _filter_inputs(model):
            compiled = compile_filter(model, self._compiler)
        if former is None or table is None or compiled is not self._compiled or not _same_table(former, model):
            table = self._renderer.render(model, compiled)
        return compiled, table, Openings(model, compiled)

    async def run(self) -> NoReturn:
        """End flows that were withdrawn, as soon as they are; until cancelled."""
        while True:
            await self._flows_wait.wait()
            await self.end_flows()

    async def end_flows(self) -> None:
        """Flows that peers opened under a former model and may not open now (node-os spec 1.5).

        No part of `apply`: the kernel walks through its whole table, in 10 ms and more though it be empty, and models
        that come meanwhile share the next walk.
        """
        withdrawals, conntrack = self._withdrawals, self._conntrack
        self._flows_wait.clear()
        wanted = withdrawals.take()
        if conntrack is None:
            return
        try:
            found = await conntrack.find(MARK_FORWARDED, MARK_MASK, wanted)
            async with self._lock:
                if withdrawals is self._withdrawals:  # else the router was closed
                    await self._forget(withdrawals.still_to_end(found), conntrack)
        except ApplianceError as error:
            withdrawals.look_at_all()  # with the next model
            self._health.say("flows-not-ended", error.text, error.mend)
            return
        self._health.say("flows-not-ended", "", "")

    async def _forget(self, flows: list[Flow], conntrack: ConntrackPort) -> None:
        """The host's side is shut first, else its next segment would make the kernel take the flow up again."""
        if document := render_ended(flows):
            await self._firewall.apply(document)
        await conntrack.remove(flows)

    async def _apply_table(self, table: NftTable) -> None:
        if self._table is None:
            await self._firewall.apply(render_create(table))
        elif document := render_change(self._table, table):
            try:
                await self._firewall.apply(document)
            except FirewallError:
                # The kernel's table is not what we left there: somebody changed it. Make it anew.
                await self._firewall.apply(render_create(table))
        self._table = table

    async def _apply_netlink(self, model: RouterModel) -> None:
        link = await self._find_link(model.interface)
        known = self._link is not None and self._link.index == link.index and link.up
        known = known and self._model is not None and self._model.devices == model.devices
        await self._set_device(link, model)
        for device in model.devices:
            if not (await self._find_link(device.name)).up:
                await self._netlink.set_link(device.name, up=True)
        if not known:
            self._installed = await self._held(model.interface)
        self._link = None  # until the kernel has taken it all
        versions = await self._versions(model.interface)
        if known and self._only_routes_differ(model, versions):
            remove, add = route_changes(self._installed_for[0], model, versions)
            wanted = self._installed
        else:
            wanted = desired(model, versions)
            remove, add = difference(self._installed, wanted)
        if remove or add:
            await self._netlink.apply(remove, add)
        for item in remove:
            wanted.pop(item, None)
        wanted |= dict.fromkeys(add)
        self._installed, self._installed_for, self._link = wanted, (model, versions), link
        await self._rates.hold(model, known=known)

    def _only_routes_differ(self, model: RouterModel, versions: tuple[int, ...]) -> bool:
        """Peers come and go all the time: then nothing else is compared."""
        former, had = self._installed_for
        return had == versions and netlink_inputs(former) == netlink_inputs(model)

    async def _set_device(self, link: Link, model: RouterModel) -> None:
        mtu = model.mtu if link.mtu != model.mtu else None
        quiet = f"net/ipv6/conf/{link.name}/addr_gen_mode"
        if not link.up and await self._sysctl.read(quiet) == "0":
            with contextlib.suppress(SysctlError):  # no link-local address: there are no neighbours to discover
                await self._sysctl.write(quiet, "1")
        if mtu is not None or not link.up:
            before = await self.device_setting()
            await self._netlink.set_link(link.name, up=True, mtu=mtu)
            await self._keeper.note_device(before)

    async def _find_link(self, interface: str) -> Link:
        for link in await self._netlink.links():
            if link.name == interface:
                return link
        raise NetlinkError(f"no interface {interface}", mend="start the engine, which makes the tunnel device, first")

    async def _versions(self, interface: str) -> tuple[int, ...]:
        """IPv6 only where the kernel has it on for the interface (node-os spec 1.2)."""
        return (4, 6) if await self._sysctl.read(f"net/ipv6/conf/{interface}/disable_ipv6") == "0" else (4,)

    async def _held(self, interface: str) -> dict[NetlinkItem, None]:
        """What the kernel holds of ours."""
        addresses = await self._netlink.addresses()
        routes = [route for table in TABLES for route in await self._netlink.routes(table)]
        return dict.fromkeys(ours(interface, addresses, routes, await self._netlink.rules()))

    async def _roll_back(self, interface: str, model: RouterModel | None, table: NftTable | None) -> None:
        """Back to the former state, as far as the kernel lets us; the first error is the one to tell."""
        with contextlib.suppress(ApplianceError):
            self._link = None
            if model is not None:
                await self._apply_netlink(model)
            else:
                await self._withdraw(interface)
        with contextlib.suppress(ApplianceError):
            if table is not None:
                await self._firewall.apply(render_create(table))
            else:
                await self._firewall.apply(render_delete(TABLE_FAMILY, TABLE_NAME))
        self._table = table

    async def _withdraw(self, interface: str) -> None:
        """Device down first: its filter goes after it, and nothing may pass in between."""
        if any(link.name == interface for link in await self._netlink.links()):
            await self._netlink.set_link(interface, up=False)
        await self._netlink.apply(list(reversed(await self._held(interface))), [])
        self._installed, self._link = {}, None
        await self._rates.give_up(interface)

    async def _apply_settings(self, model: RouterModel) -> None:
        names = uplinks(await self._netlink.routes(TABLE_MAIN))
        problems = await self._keeper.ensure(await wishes(model, self._sysctl, names))
        self._health.say("ip-forwarding-off", "; ".join(problems), "set net.ipv4.ip_forward=1 in /etc/sysctl.d")

    async def _treat_foreign(self, model: RouterModel) -> None:
        try:
            if model.foreign is not ForeignMode.OPEN:
                await self._close_foreign()
            objects = await self._firewall.ruleset()
            if model.foreign is ForeignMode.OPEN:
                self._opened = True
                if document := opening_document(objects, model):
                    await self._firewall.apply(document)
                    objects = await self._firewall.ruleset()
        except FirewallError as error:
            self._health.say("foreign-firewall-drop", error.text, "let the tunnel pass in the host's firewall")
            return
        drops = find_drops(objects, model.interface)
        text = f"another firewall drops tunnel traffic: {', '.join(map(str, drops[:4]))}" if drops else ""
        self._health.say("foreign-firewall-drop", text, f'let "{model.interface}" pass there, or allow openings')

    async def _close_foreign(self) -> None:
        if self._opened:
            if document := closing_document(await self._firewall.ruleset()):
                await self._firewall.apply(document)
            self._opened = False


_CONTENDED_MEND = "set ManageForeignRoutingPolicyRules=no in networkd.conf"


def _foreign_inputs(model: RouterModel) -> tuple[object, ...]:
    return model.foreign, model.interface, model.udp_ports, tuple(device.name for device in model.devices)


def _settings_inputs(model: RouterModel) -> tuple[object, ...]:
    """What `wishes` reads of a model; the rest of it is the host's network, whose changes call `repair`."""
    return model.forwards, reaches_outside(model), model.devices, tuple(sidelong(model))


def _filter_inputs(model: RouterModel) -> tuple[object, ...]:
    """What `compile_filter` reads."""
    return model.shields_up, model.rules, model.cap_sources, model.jailed


def _same_table(former: RouterModel, model: RouterModel) -> bool:
    """Whether two models with the same compiled filter have the same table: what is left out goes into routes."""
    return _rendered(former) == _rendered(model)


def _rendered(model: RouterModel) -> RouterModel:
    without_routes = replace(model, mtu=0, routes=(), local_routes=(), own_first=frozenset())
    return replace(without_routes, sources=None, service_addresses=(), guard=None, exit_uplink=None)


@contextlib.contextmanager
def _noting(failures: list[ApplianceError]) -> Iterator[None]:
    try:
        yield
    except ApplianceError as error:
        failures.append(error)


class _HealthReporter:
    """Says each code's state once."""

    def __init__(self, publish: Callable[[HealthChanged], None]) -> None:
        self._publish = publish
        self._said: dict[str, str] = {}

    def say(self, code: str, text: str, mend: str, severity: Severity = Severity.MEDIUM) -> None:
        """`text` empty means healthy."""
        if self._said.get(code, "") != text:
            self._said[code] = text
            self._publish(HealthChanged(code, bool(text), text, mend if text else "", severity))
