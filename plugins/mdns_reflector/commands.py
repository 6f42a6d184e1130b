"""Pure: the plugin's commands, as text for people or as JSON."""

from __future__ import annotations

import json
from typing import Any

from appliance.api import CommandReply
from appliance.proto.mdns import text_of
from plugins.mdns_reflector.state import ReflectorState

JSON = "--json"


def run_command(state: ReflectorState, command: str, arguments: tuple[str, ...], now: float) -> CommandReply:
    """`status` or `list`; the only argument is `--json`."""
    if arguments not in ((), (JSON,)):
        return CommandReply(f"{command} takes {JSON} only", ok=False)
    value: Any = status_view(state) if command == "status" else seen_view(state, now)
    if arguments:
        return CommandReply(json.dumps(value))
    lines = _status_lines(value) if command == "status" else [f"{each['site']:<20} {each['name']}" for each in value]
    return CommandReply("\n".join(lines) or "no service of another site was seen")


def status_view(state: ReflectorState) -> dict[str, Any]:
    return {
        "lans": list(state.open_lans),
        "listening": state.listening,
        "sites": sorted(set(state.site_of.values())),
        "missing_sites": list(state.missing_sites),
        "services": list(state.config.services),
        "problem": state.problem,
        "counters": dict(state.reflector.counters),
    }


def seen_view(state: ReflectorState, now: float) -> list[dict[str, Any]]:
    found = [
        {"site": site, "name": text_of(name), "seconds_left": round(until - now)}
        for (site, name), until in state.reflector.seen.items()
        if until > now
    ]
    return sorted(found, key=lambda each: (each["site"], each["name"]))


def _status_lines(view: dict[str, Any]) -> list[str]:
    missing = f" (not there: {', '.join(view['missing_sites'])})" if view["missing_sites"] else ""
    lines = [
        f"LANs:      {', '.join(view['lans']) or 'none'}",
        f"sites:     {', '.join(view['sites']) or 'none'}{missing}",
        f"services:  {', '.join(view['services']) or 'none'}",
        f"listening: {view['listening'] or 'nowhere'}",
    ]
    return [*lines, f"problem:   {view['problem']}"] if view["problem"] else lines
