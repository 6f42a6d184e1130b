"""Pure: the plugin's commands, as text for people or as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from appliance.api import CommandReply, Location
from plugins.exit_node.config import AUTO
from plugins.exit_node.rules import Exit, Measure, is_lost
from plugins.exit_node.state import ExitState

JSON = "--json"


def run_command(state: ExitState, command: str, arguments: tuple[str, ...]) -> CommandReply:
    """`list`, `status` or `suggest`; the only argument is `--json`."""
    unknown = [each for each in arguments if each != JSON]
    if unknown:
        return CommandReply(f"{command} does not take {unknown[0]!r}; it knows {JSON}", ok=False)
    value = {"list": _list, "status": _status, "suggest": _suggest}[command](state)
    if JSON in arguments:
        return CommandReply(json.dumps(value))
    text = {"list": _list_text, "status": _status_text, "suggest": _suggest_text}[command](value)
    return CommandReply(text)


def _list(state: ExitState) -> Any:
    best = state.best
    return [_exit(state, each, best) for each in state.sorted_exits]


def _exit(state: ExitState, each: Exit, best: Exit | None) -> dict[str, Any]:
    measure = state.measures.get(each.stable_id, Measure())
    return {
        "stable_id": each.stable_id,
        "name": each.name,
        "addresses": list(each.addresses),
        "routes": list(each.routes),
        "online": each.online,
        "region": measure.region,
        "latency_s": measure.latency_s,
        "location": asdict(each.location),
        "in_use": each == state.chosen,
        "suggested": each == best,
    }


def _status(state: ExitState) -> Any:
    chosen, config = state.chosen, state.config
    return {
        "use": config.use,
        "exit": chosen.name if chosen is not None else "",
        "stable_id": chosen.stable_id if chosen is not None else "",
        "regions": list(config.regions),
        "reachable": not is_lost(chosen),
        "guarded": bool(config.use),
        "lan_access": config.lan_access,
        "site": config.site,
        "gateway_direct": config.gateway_direct,
        "hosts": list(config.hosts),
        "not_hosts": list(config.not_hosts),
        "direct": list(config.direct),
        "advertise": config.advertise,
        "approved": state.offers and state.approved is not None and not state.waiting,
        "uplink": config.uplink,
        "uplink_up": state.uplink_up,
        "uplink_no_udp": state.no_udp,
        "moves": state.moves,
    }


def _suggest(state: ExitState) -> Any:
    best = state.best
    return _exit(state, best, best) if best is not None else None


def _list_text(found: Any) -> str:
    return "\n".join(_line(each) for each in found) or "no peer offers an exit that this node may use"


def _line(each: Any) -> str:
    words = ["offline"] if each["online"] is False else []
    words += [each["region"]] if each["region"] else []
    words += [str(Location(**each["location"]))] if any(each["location"].values()) else []
    words += [f"{each['latency_s'] * 1000:.0f} ms"] if each["latency_s"] else []
    words += ["in use"] if each["in_use"] else ["suggested"] if each["suggested"] else []
    return f"{each['name']:<40} {each['addresses'][0] if each['addresses'] else '':<16} {', '.join(words)}".rstrip()


def _status_text(found: Any) -> str:
    offer = "approved" if found["approved"] else "waits for approval"
    lines = [f"offered as exit: {offer if found['advertise'] else 'no'}"]
    if found["advertise"] and found["uplink"]:
        away = "" if found["uplink_up"] else " (not there: the exit is not offered)"
        lines.append(f"its users go on by: {found['uplink']}{away}")
        lines += [f"their UDP is refused: {found['uplink_no_udp']}"] if found["uplink_no_udp"] else []
    if not found["use"]:
        return "\n".join(["exit: none, traffic leaves directly", *lines])
    state = "" if found["reachable"] else " (not reachable: everything is stopped)"
    lines.insert(0, f"exit: {found['exit'] or found['use']}{state}")
    if found["use"] == AUTO and found["regions"]:
        lines.append(f"only exits in: {', '.join(found['regions'])}")
    lines.append(f"hosts behind this gateway: {_served(found)}")
    if found["direct"]:
        lines.append(f"excepted destinations: {', '.join(found['direct'])}")
    if found["gateway_direct"]:
        return "\n".join([*lines, "this gateway itself: leaves directly"])
    lines.append(f"attached networks: {'open' if found['lan_access'] else 'closed'} to this gateway")
    return "\n".join(lines)


def _served(found: Any) -> str:
    if not found["site"]:
        return "not served"
    who = f"use it too: {', '.join(found['hosts'])}" if found["hosts"] else "use it too"
    return f"{who}; not {', '.join(found['not_hosts'])}" if found["not_hosts"] else who


def _suggest_text(found: Any) -> str:
    return _line(found) if found is not None else "no exit can be suggested: no peer that is online offers one"
