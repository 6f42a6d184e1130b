"""Pure: the plugin's commands. A wish takes time: it gets a number, under which its result waits."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from appliance.api import CommandReply
from plugins.wake_on_lan.rules import find_target
from plugins.wake_on_lan.state import Outcome, WakeState

USAGE = "usage: list [--json] | wake HOST [--interface NAME] [--via GATEWAY] | result NUMBER"


def run_command(state: WakeState, command: str, arguments: tuple[str, ...]) -> CommandReply:
    match command, arguments:
        case "list", ():
            return CommandReply("\n".join(_lines(state)) or "no hosts are set; see docs/wake-on-lan.md")
        case "list", ("--json",):
            return CommandReply(json.dumps([*_set(state), *_seen(state)]))
        case "wake", (_, *_):
            return _wish(state, arguments)
        case "result", (number,) if number.isascii() and number.isdigit():
            return _result(state, int(number[:9]))
    return CommandReply(USAGE, ok=False)


def outcome_view(outcome: Outcome) -> dict[str, Any]:
    return {**asdict(outcome), "target": asdict(outcome.target), "at": outcome.at.isoformat()}


def _wish(state: WakeState, arguments: tuple[str, ...]) -> CommandReply:
    try:
        number = state.wish(find_target(state.hosts, state.learned, arguments))
    except ValueError as error:
        return CommandReply(str(error), ok=False)
    if number is None:
        return CommandReply("too many wishes wait; try again in a few seconds", ok=False)
    return CommandReply(json.dumps({"number": number}))


def _result(state: WakeState, number: int) -> CommandReply:
    if number not in state.results:
        return CommandReply("there is no such wish", ok=False)
    outcome = state.results[number]
    if outcome is None:
        return CommandReply(json.dumps({"number": number}))
    del state.results[number]
    return CommandReply(json.dumps(outcome_view(outcome)))


def _lines(state: WakeState) -> list[str]:
    lines = [f"{each.name:<24} {each.mac} {_place(each.interface, each.via)}".rstrip() for each in _sorted(state)]
    return lines + [f"{each['name']:<24} {each['mac']} on {each['interface']} (was seen)" for each in _seen(state)]


def _set(state: WakeState) -> list[dict[str, Any]]:
    return [{**asdict(each), "learned": False} for each in _sorted(state)]


def _seen(state: WakeState) -> list[dict[str, Any]]:
    return [{**asdict(each), "learned": True} for each in sorted(state.learned.values(), key=lambda each: each.name)]


def _place(interface: str, via: str) -> str:
    return " ".join([*(("on", interface) if interface else ()), *(("via", via) if via else ())])


def _sorted(state: WakeState) -> list[Any]:
    return [state.hosts[name] for name in sorted(state.hosts)]
