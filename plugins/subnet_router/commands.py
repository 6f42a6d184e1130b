"""What `waypost plugins run subnet_router` answers, as JSON; limits also as text."""

from __future__ import annotations

import json
from dataclasses import asdict
from ipaddress import IPv4Network, ip_network

from appliance.api import CommandReply
from appliance.types.via import MAX_SITE, via_parts, via_prefix
from plugins.subnet_router.limit_report import limit_text
from plugins.subnet_router.one_to_one import example_host
from plugins.subnet_router.state import RouterState
from plugins.subnet_router.via import example_name, unfit

USAGE = "usage: limits [--json] | translation | via SITE NETWORK, such as: via 7 192.168.1.0/24"


def run_command(state: RouterState, command: str, arguments: tuple[str, ...]) -> CommandReply:
    match command, arguments:
        case "limits", () | ("--json",):
            return CommandReply(limit_text(state, as_json=bool(arguments)))
        case "translation", ():
            return CommandReply(json.dumps(_translation(state)))
        case "via", (site, network):
            return _via(site, network)
    return CommandReply(USAGE, ok=False)


def _translation(state: RouterState) -> dict[str, object]:
    served = [_served(route) for route in state.wanted if via_parts(ip_network(route)) is not None]
    return {
        "4via6": served,
        "pool": state.config.translation_pool,
        "counters": asdict(state.translation) if state.translation is not None else None,
        "one_to_one": [
            {**asdict(each), "name": example_host(each, state.name) if state.name else ""}
            for each in state.config.translations
        ],
    }


def _served(route: str) -> dict[str, object]:
    parts = via_parts(ip_network(route))
    assert parts is not None
    return {"route": route, "site": parts[0], "network": str(parts[1]), "name": example_name(route)}


def _via(site: str, text: str) -> CommandReply:
    try:
        network = IPv4Network(text, strict=False)
        number = int(site)
    except ValueError:
        return CommandReply(USAGE, ok=False)
    if not 0 <= number < MAX_SITE:
        return CommandReply(f"a site's number is 0 to {MAX_SITE - 1}", ok=False)
    if problem := unfit(network):
        return CommandReply(problem, ok=False)
    return CommandReply(json.dumps(_served(str(via_prefix(number, network)))))
