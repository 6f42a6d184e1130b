"""What `waypost dns` asks. A question to other resolvers takes time: it gets a number, under which its result waits."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from appliance.api import CommandReply
from appliance.proto.dns import Query, encode_name, parse_reply
from appliance.proto.dns.numbers import IN, RCODES, RD, type_name, type_number
from appliance.proto.dns.text import data_text
from appliance.types.errors import DecodeError
from plugins.magicdns.core import Core
from plugins.magicdns.resolver import Client
from plugins.magicdns.state import DnsState
from plugins.magicdns.translated import TranslatedNetwork

KEPT = 64
"""Results that wait for their reader."""


class Commands:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._results: OrderedDict[int, dict[str, Any] | None] = OrderedDict()
        self._count = 0

    def run(self, command: str, arguments: tuple[str, ...]) -> CommandReply:
        match command, arguments:
            case "status", ():
                self._core.measure()
                return CommandReply(json.dumps(status_view(self._core.state, self._core.names.translated.networks())))
            case "flush", ():
                count = len(self._core.resolver.cache)
                self._core.resolver.cache.clear()
                return CommandReply(f"{count} answers forgotten")
            case "query", (name, *rest) if len(rest) <= 1:
                return self._ask(name, rest[0] if rest else "A")
            case "result", (ticket,) if ticket.isascii() and ticket.isdigit():
                return self._result(int(ticket))
        return CommandReply("usage: status | flush | query NAME [TYPE] | result NUMBER", ok=False)

    def _ask(self, name: str, type_text: str) -> CommandReply:
        qtype = type_number(type_text)
        if qtype is None:
            return CommandReply(f"{type_text[:20]!r} is no type of record; such are A, AAAA, TXT, PTR", ok=False)
        try:
            wire = encode_name(name)
        except DecodeError:
            return CommandReply(f"{name[:80]!r} is no domain name", ok=False)
        if self._core.group is None:
            return CommandReply("the resolver is not running; see: waypost plugins list", ok=False)
        self._count += 1
        self._results[self._count] = None
        while len(self._results) > KEPT:
            self._results.popitem(last=False)
        tail = struct.pack(">HH", qtype, IN)
        query = Query(0, RD, wire + tail, wire.lower() + tail, qtype, IN)
        self._core.group.create_task(self._answered(self._count, query))
        return CommandReply(json.dumps({"number": self._count}))

    async def _answered(self, number: int, query: Query) -> None:
        resolver = self._core.resolver
        before, started = dict(resolver.counters.items()), time.monotonic()
        reply = resolver.quick(query, Client.HOST)
        if reply is None:
            reply = await resolver.answer(query, Client.HOST, stream=True)
        seconds = time.monotonic() - started
        if number in self._results:
            self._results[number] = answer_view(query, reply, _source(before, resolver.counters.local), seconds)
        await asyncio.sleep(0)

    def _result(self, number: int) -> CommandReply:
        if number not in self._results:
            return CommandReply("there is no such question", ok=False)
        found = self._results[number]
        if found is None:
            return CommandReply(json.dumps({"number": number}))
        del self._results[number]
        return CommandReply(json.dumps(found))


def _source(before: dict[str, int], local: int) -> str:
    return "mesh" if local > before["local"] else "resolvers"


def answer_view(query: Query, data: bytes, source: str, seconds: float) -> dict[str, Any]:
    reply = parse_reply(data)
    return {
        "name": query.name,
        "type": type_name(query.qtype),
        "rcode": RCODES.get(reply.rcode, str(reply.rcode)),
        "source": source,
        "seconds": round(seconds, 6),
        "answers": [
            {"name": each.owner, "type": type_name(each.rtype), "ttl": each.ttl, "data": data_text(reply, each)}
            for each in reply.answers()
        ],
    }


def status_view(state: DnsState, translated: Sequence[TranslatedNetwork] = ()) -> dict[str, Any]:
    return {
        "in_mesh": state.own is not None,
        "name": state.own.name if state.own is not None else "",
        "search": list(dict.fromkeys((*state.config.search, *state.dns.domains))),
        "proxied": state.dns.proxied,
        "names": state.names,
        "listening": list(state.listening),
        "refused": dict(state.refused),
        "host": {
            "way": str(state.os.way) if state.os.way is not None else "",
            "wanted": state.config.os,
            "domains": list(state.os.domains),
            "error": state.os.error,
        },
        "translated": [asdict(each) for each in translated],
        "site_served": state.config.serve_lan,
        "upstreams": [asdict(each) for each in state.upstreams],
        "counters": dict(state.counters),
        "cached_entries": state.cached_entries,
    }
