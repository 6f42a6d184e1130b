"""Pure health checks: state in, items out."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.api import HealthItem
from appliance.types.errors import Severity
from plugins.app_connector.state import ConnectorState

SHOWN = 5


def health_items(state: ConnectorState) -> tuple[HealthItem, ...]:
    return tuple(_items(state)) if state.config.advertise else ()


def _items(state: ConnectorState) -> Iterator[HealthItem]:
    if state.approved is not None and not state.apps:
        text = "this gateway is to be an app connector, but no app names it"
        mend = "list apps in the policy's nodeAttrs (app-connectors), or set plugins.app_connector.domains"
        yield HealthItem("no-apps", text, mend, Severity.LOW)
    if state.waiting:
        shown = ", ".join(state.waiting[:SHOWN])
        text = f"{len(state.waiting)} routes of apps wait for approval: {shown}"
        mend = "let the policy's autoApprovers approve 0.0.0.0/0 and ::/0 of this connector's tag"
        yield HealthItem("app-routes-not-approved", text, mend)
    if state.routes and (state.facts.forwarding_v4 is False):
        mend = "run: sysctl -w net.ipv4.ip_forward=1, and keep it in /etc/sysctl.d"
        yield HealthItem("ip-forwarding-off", "apps are routed, but the kernel does not forward packets", mend)
    if state.wrong:
        text = f"apps of the policy cannot be used: {', '.join(state.wrong[:SHOWN])}"
        yield HealthItem("apps-ignored", text, "correct their domains and routes in the policy", Severity.LOW)
