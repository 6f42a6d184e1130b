"""What control may ask this node (control-protocol spec 17). Features that the node lacks say so in the form that a
control server understands; `/echo` is the client's own."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from appliance.c2n.table import TEXT, C2nTable
from appliance.netmap.pings import C2nReply
from appliance.proto.http1.head import RequestHead

JSON = "application/json"


class NodeFacts(Protocol):
    """What the answers are made of. JSON values without secrets."""

    def netmap(self) -> dict[str, Any]: ...

    def prefs(self) -> dict[str, Any]: ...

    def health(self) -> list[dict[str, Any]]: ...

    def metrics(self) -> str:
        """In Prometheus' text form."""
        ...

    def counters(self) -> dict[str, int]: ...

    async def app_domains(self) -> dict[str, list[str]]:
        """Addresses that the app connector learned, by name."""
        ...


def node_routes(facts: NodeFacts) -> C2nTable:
    """The table of a gateway; features add theirs."""
    table = C2nTable()

    def netmap(_head: RequestHead, _body: bytes) -> C2nReply:
        return _json({"current": facts.netmap()})

    def health(_head: RequestHead, _body: bytes) -> C2nReply:
        return _json(facts.health())

    def prefs(_head: RequestHead, _body: bytes) -> C2nReply:
        return _json(facts.prefs())

    def metrics(_head: RequestHead, _body: bytes) -> C2nReply:
        return 200, TEXT, facts.metrics().encode()

    def sockets(_head: RequestHead, _body: bytes) -> C2nReply:
        return 200, TEXT, "".join(f"{name} {value}\n" for name, value in sorted(facts.counters().items())).encode()

    async def app_domains(_head: RequestHead, _body: bytes) -> C2nReply:
        return _json({"Domains": await facts.app_domains()})

    table.add("GET POST", "/debug/netmap", netmap)
    table.add("GET", "/debug/health", health)
    table.add("GET", "/debug/prefs", prefs)
    table.add("GET", "/debug/metrics", metrics)
    table.add("POST", "/sockstats", sockets)
    table.add("GET POST", "/update", _no_update)
    table.add("GET", "/posture/identity", _no_posture)
    table.add("GET", "/tls-cert-status", _no_certificate)
    table.add("GET", "/vip-services", _no_services)
    table.add("GET", "/appconnector/routes", app_domains)
    return table


def _no_update(_head: RequestHead, _body: bytes) -> C2nReply:
    words = "this gateway is not updated from afar"
    return _json({"Err": words, "Enabled": False, "Supported": False, "Started": False})


def _no_posture(_head: RequestHead, _body: bytes) -> C2nReply:
    return _json({"PostureDisabled": True})


def _no_certificate(head: RequestHead, _body: bytes) -> C2nReply:
    if not head.query("domain"):
        return 400, TEXT, b"no 'domain' parameter\n"
    return _json({"Missing": True})


def _no_services(_head: RequestHead, _body: bytes) -> C2nReply:
    return _json({"VIPServices": [], "ServicesHash": ""})


def _json(value: Any) -> C2nReply:
    return 200, JSON, msgspec.json.encode(value)
