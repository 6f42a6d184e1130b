"""Pure: the plugin's state as a panel of the status page."""

from __future__ import annotations

from appliance.api import Panel, PanelAction, PanelForm, PanelRow
from plugins.exit_node.config import AUTO
from plugins.exit_node.health import health_items
from plugins.exit_node.rules import Exit, Measure, is_lost
from plugins.exit_node.state import ExitState

SHOWN = 8
"""Exits with a row and a button of their own."""

FORMS = (
    PanelForm("Use an exit", ("use", "regions", "lan_access", "direct")),
    PanelForm("The exit for hosts behind this gateway", ("use", "site", "hosts", "not_hosts", "gateway_direct")),
    PanelForm("Offer an exit", ("advertise", "uplink", "uplink_credentials", "uplink_resolvers")),
    PanelForm("Where this gateway is", ("location",)),
)


def panel(state: ExitState) -> Panel:
    return Panel(
        title="Exit to the Internet",
        health=health_items(state),
        rows=(_use(state), *_protection(state), _offer(state), *_uplink(state), *_exits(state)),
        actions=tuple(_actions(state)),
        forms=FORMS,
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
    config = state.config
    who = "this gateway and hosts behind it" if config.site else "this gateway"
    who = "hosts behind this gateway" if config.gateway_direct else who
    lan = "may be reached" if config.lan_access else "are closed to this gateway; answers to them pass"
    rows = [PanelRow("Protected", who, "also while waypostd is not running")]
    if config.use == AUTO and config.regions:
        rows.append(PanelRow("Only exits in", _short(config.regions)))
    rows += [PanelRow("Only these hosts", _short(config.hosts), "others leave directly")] if config.hosts else []
    rows += [PanelRow("Not these hosts", _short(config.not_hosts), "they leave directly")] if config.not_hosts else []
    rows += [PanelRow("Excepted destinations", _short(config.direct), "reached directly")] if config.direct else []
    if config.gateway_direct:
        return (*rows, PanelRow("This gateway itself", "leaves directly"))
    return (*rows, PanelRow("Attached networks", lan))


def _short(texts: tuple[str, ...]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def _offer(state: ExitState) -> PanelRow:
    if not state.config.advertise:
        return PanelRow("Offered", "no", "peers cannot leave by this gateway")
    if state.approved is None:
        return PanelRow("Offered", "yes", "not yet known to control")
    return PanelRow("Offered", "yes", "waits for approval" if state.waiting else "approved", bad=state.waiting)


def _uplink(state: ExitState) -> tuple[PanelRow, ...]:
    config = state.config
    if not (config.advertise and config.uplink):
        return ()
    how = "and by nothing else" if state.uplink_up else "not there: the exit is not offered"
    udp = (PanelRow("Their UDP", "refused", state.no_udp),) if state.no_udp else ()
    return (PanelRow("Its users go on by", config.uplink, how, bad=not state.uplink_up), *udp)


def _exits(state: ExitState) -> tuple[PanelRow, ...]:
    return tuple(PanelRow("Exit", each.short_name, _facts(state, each)) for each in state.sorted_exits[:SHOWN])


def _facts(state: ExitState, each: Exit) -> str:
    measure = state.measures.get(each.stable_id, Measure())
    words = ["offline"] if each.online is False else []
    words += list(filter(None, (measure.region, str(each.location))))
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
    none = PanelAction("Use no exit", {"use": "", "site": False, "gateway_direct": False, "hosts": [], "not_hosts": []})
    lan = PanelAction(
        "Close attached networks to this gateway" if config.lan_access else "Let this gateway reach attached networks",
        {"lan_access": not config.lan_access},
    )
    own = PanelAction("Let this gateway itself leave directly", {"gateway_direct": True})
    if config.gateway_direct:
        return [none, *found, PanelAction("Have this gateway itself use the exit too", {"gateway_direct": False})]
    return [none, *found, *([own] if config.site else []), lan]
