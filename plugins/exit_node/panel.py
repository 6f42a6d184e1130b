"""Pure: the plugin's state as a panel of the status page."""

from __future__ import annotations

from appliance.api import Panel, PanelAction, PanelRow
from plugins.exit_node.config import AUTO
from plugins.exit_node.health import health_items
from plugins.exit_node.rules import Exit, Measure, is_lost
from plugins.exit_node.state import ExitState

SHOWN = 8
"""Exits with a row and a button of their own."""


def panel(state: ExitState) -> Panel:
    return Panel(
        title="Exit to the Internet",
        health=health_items(state),
        rows=(_use(state), *_protection(state), _offer(state), *_exits(state)),
        actions=tuple(_actions(state)),
    )


def _use(state: ExitState) -> PanelRow:
    if not state.config.use:
        return PanelRow("In use", "none", "traffic to the Internet leaves directly")
    chosen, how = state.chosen, "chosen automatically" if state.config.use == AUTO else ""
    name = chosen.short_name if chosen is not None else state.config.use
    lost = is_lost(chosen)
    return PanelRow("In use", name, "not reachable: everything is stopped" if lost else how, bad=lost)


def _protection(state: ExitState) -> tuple[PanelRow, ...]:
    if not state.config.use:
        return ()
    who = "this gateway and hosts behind it" if state.config.site else "this gateway"
    lan = "may be reached" if state.config.lan_access else "are closed to this gateway; answers to them pass"
    return (PanelRow("Protected", who, "also while waypostd is not running"), PanelRow("Attached networks", lan))


def _offer(state: ExitState) -> PanelRow:
    if not state.config.advertise:
        return PanelRow("Offered", "no", "peers cannot leave by this gateway")
    if state.approved is None:
        return PanelRow("Offered", "yes", "not yet known to control")
    return PanelRow("Offered", "yes", "waits for approval" if state.waiting else "approved", bad=state.waiting)


def _exits(state: ExitState) -> tuple[PanelRow, ...]:
    return tuple(PanelRow("Exit", each.short_name, _facts(state, each)) for each in state.sorted_exits[:SHOWN])


def _facts(state: ExitState, each: Exit) -> str:
    measure = state.measures.get(each.stable_id, Measure())
    words = ["offline"] if each.online is False else []
    words += [measure.region] if measure.region else []
    words += [f"{measure.latency_s * 1000:.0f} ms"] if measure.latency_s else []
    return ", ".join(words)


def _actions(state: ExitState) -> list[PanelAction]:
    config, chosen = state.config, state.chosen
    if config.advertise:
        return [PanelAction("Stop offering this gateway as an exit", {"advertise": False})]
    found = [
        PanelAction(f"Use the exit {each.short_name}", {"use": each.stable_id})
        for each in state.sorted_exits[:SHOWN]
        if each != chosen and each.online is not False
    ]
    if not config.use:
        return [*found, PanelAction("Offer this gateway as an exit", {"advertise": True})]
    lan = PanelAction(
        "Close attached networks to this gateway" if config.lan_access else "Let this gateway reach attached networks",
        {"lan_access": not config.lan_access},
    )
    return [PanelAction("Use no exit", {"use": "", "site": False}), *found, lan]
