"""What the doctor knows of the gateway's own resolver: what the plugin says of itself, and one question to it."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import msgspec

from appliance.checks.network import DnsFacts
from appliance.peerapi.names import Lookup
from appliance.pluginhost.host import PluginHost
from appliance.proto.dns import build_query, encode_name, parse_reply
from appliance.proto.dns.numbers import IN, NOERROR, A
from appliance.types.errors import ApplianceError, DecodeError

PLUGIN = "magicdns"
LIMIT_S = 3.0


async def dns_facts(plugins: PluginHost, lookup: Lookup, own_name: str) -> DnsFacts | None:
    """None where no resolver runs. `own_name` "": not in a mesh; then nothing is asked."""
    try:
        reply = await plugins.run_command(PLUGIN, "status", ())
        view: dict[str, Any] = msgspec.json.decode(reply.text)
    except (ApplianceError, msgspec.MsgspecError):
        return None
    upstreams = view["upstreams"]
    return DnsFacts(
        listening=tuple(view["listening"]),
        refused=view["refused"],
        upstreams={each["name"]: each["error"] for each in upstreams if not each["looping"]},
        looping=tuple(sorted({each["name"] for each in upstreams if each["looping"]})),
        answers=await _answers(lookup, own_name) if own_name and view["listening"] else None,
        host_error=view["host"]["error"] if view["host"]["wanted"] != "auto" else "",
    )


async def _answers(lookup: Lookup, own_name: str) -> bool:
    """Whether the resolver gives an answer about this node's own name."""
    try:
        question = encode_name(own_name) + struct.pack(">HH", A, IN)
        async with asyncio.timeout(LIMIT_S):
            data = await lookup(build_query(1, question, dnssec_ok=False, checking_disabled=False))
        return parse_reply(data).rcode == NOERROR
    except (OSError, EOFError, ApplianceError, DecodeError):
        return False
