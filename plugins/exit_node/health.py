"""Pure health checks: state in, items out."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.api import HealthItem
from appliance.types.errors import Severity
from plugins.exit_node.config import AUTO
from plugins.exit_node.proxies import is_proxy
from plugins.exit_node.rules import DEFAULTS, is_lost
from plugins.exit_node.state import ExitState

_SYSCTLS = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}


def health_items(state: ExitState) -> tuple[HealthItem, ...]:
    return (*_lost(state), *_one_family(state), *_approval(state), *_uplink(state), *_forwarding(state))


def _lost(state: ExitState) -> Iterator[HealthItem]:
    chosen = state.chosen
    if not state.config.use or not is_lost(chosen) or state.approved is None:
        return
    if state.config.use == AUTO and chosen is None:
        why = "no peer offers an exit that may be chosen"
    elif chosen is None:
        why = f"{state.config.use} offers no exit"
    else:
        why = f"the exit {chosen.short_name} is offline"
    yield HealthItem(
        "exit-lost",
        f"{why}; nothing leaves until it is back, so that nothing leaks",
        "take another: waypost exit list, waypost exit use NAME; or none: waypost exit off",
        Severity.HIGH,
    )


def _one_family(state: ExitState) -> Iterator[HealthItem]:
    chosen = state.chosen
    if chosen is not None and len(chosen.routes) < len(DEFAULTS):
        missing = "IPv6" if DEFAULTS[0] in chosen.routes else "IPv4"
        text = f"the exit {chosen.short_name} does not serve {missing}; {missing} traffic is stopped"
        mend = "approve both its routes on the control server, or take another exit"
        yield HealthItem("exit-one-version", text, mend, Severity.LOW)


def _approval(state: ExitState) -> Iterator[HealthItem]:
    if state.waiting:
        mend = (
            "on the control server: waypost-control routes approve NODE exit, or autoApprovers.exitNode in the policy"
        )
        yield HealthItem("exit-not-approved", "this gateway's offer to be an exit waits for approval", mend)


def _uplink(state: ExitState) -> Iterator[HealthItem]:
    if state.config.advertise and not state.uplink_up:
        uplink = state.config.uplink
        what = f"the proxy {uplink} does not answer" if is_proxy(uplink) else f"{uplink} is not there"
        text = f"{state.forwarder.error or what}; who uses this exit reaches nothing, and it is not offered"
        look = "see whether it runs" if is_proxy(uplink) else f"see: ip address show {uplink}"
        mend = f"{look}; or take another uplink: waypost exit offer --no-uplink"
        yield HealthItem("exit-uplink-away", text, mend, Severity.HIGH)


def _forwarding(state: ExitState) -> Iterator[HealthItem]:
    if not (state.config.advertise or state.config.site):
        return
    values = {4: state.facts.forwarding_v4, 6: state.facts.forwarding_v6}
    off = [sysctl for version, sysctl in _SYSCTLS.items() if values[version] is False]
    if off:
        text = f"packets of others are not forwarded to the exit ({', '.join(off)} is 0)"
        mend = f"run: sysctl -w {' '.join(f'{name}=1' for name in off)}, and keep it in /etc/sysctl.d"
        yield HealthItem("exit-forwarding-off", text, mend, Severity.HIGH)
