"""Pure: the relay as a panel of the status page, and as the answer of `waypost relay status`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from appliance.api import Panel, PanelRow
from plugins.peer_relay.health import health_items

if TYPE_CHECKING:
    from appliance.proto.peer_relay import Session
    from plugins.peer_relay.relay import Relay

SHOWN = 20
"""Sessions on the panel; the busiest come first."""


def panel(relay: Relay) -> Panel:
    return Panel(title="Peer relay", health=health_items(relay), rows=(*_place(relay), *_sessions(relay)))


def _place(relay: Relay) -> tuple[PanelRow, ...]:
    port = relay.ports[0].port if relay.ports else 0
    addresses = ", ".join(map(str, relay.addresses))
    opened = relay.open_sessions
    packets, carried = relay.forwarded
    return (
        PanelRow("UDP port", str(port) if port else "not open", bad=not port),
        PanelRow("Reached at", addresses or "unknown", bad=not addresses),
        PanelRow("Sessions", str(opened), f"{len(relay.server) - opened} being set up"),
        PanelRow("Forwarded", f"{carried / 1e6:.1f} MB", f"{packets} packets"),
        _forwarding(relay),
    )


def _forwarding(relay: Relay) -> PanelRow:
    kernel = relay.kernel
    if not kernel.is_on:
        return PanelRow("Forwarding", "in the daemon", f"not in the kernel: {kernel.reason}")
    carried = kernel.bytes.total()
    return PanelRow("Forwarding", "in the kernel", f"{kernel.serving} sessions, {carried / 1e6:.1f} MB so far")


def _sessions(relay: Relay) -> tuple[PanelRow, ...]:
    busiest = sorted(relay.server, key=lambda session: -session.bytes)[:SHOWN]
    return tuple(
        PanelRow(f"Session {each.vni}", _ends(each), f"asked for by {relay.name_of(each)}") for each in busiest
    )


def _ends(session: Session) -> str:
    return " and ".join(str(leg.bound) if leg.bound is not None else "nobody yet" for leg in session.legs)


def status(relay: Relay) -> dict[str, Any]:
    """Plain values; what `waypost relay status --json` prints."""
    now = relay.clock()
    packets, carried = relay.forwarded
    return {
        "listening": [str(port) for port in relay.ports],
        "addresses": [str(address) for address in relay.addresses],
        "server_key": str(relay.server.public_key),
        "sessions": [_session(relay, each, now) for each in relay.server],
        "forwarded_packets": packets,
        "forwarded_bytes": carried,
        "kernel": {
            "on": relay.kernel.is_on,
            "reason": relay.kernel.reason,
            "sessions": relay.kernel.serving,
            "packets": relay.kernel.packets.total(),
            "bytes": relay.kernel.bytes.total(),
        },
        "counters": {**relay.server.counters, **relay.forwarder.counters},
    }


def _session(relay: Relay, session: Session, now: float) -> dict[str, Any]:
    return {
        "vni": session.vni,
        "state": "open" if session.is_open else "connecting",
        "asked_by": relay.name_of(session),
        "age_s": round(now - session.allocated_at, 1),
        "packets": session.packets,
        "bytes": session.bytes,
        "clients": [
            {"disco_key": str(leg.key), "address": str(leg.bound) if leg.bound is not None else ""}
            for leg in session.legs
        ],
    }


def status_text(relay: Relay, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(status(relay))
    shown = panel(relay)
    lines = [f"{row.label + ':':<14} {row.value}" + (f"  ({row.detail})" if row.detail else "") for row in shown.rows]
    return "\n".join(lines)
