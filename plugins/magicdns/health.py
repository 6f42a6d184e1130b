"""Pure health checks: state in, items out."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.api import HealthItem
from appliance.types.errors import Severity
from plugins.magicdns.forward import FAILING_S
from plugins.magicdns.state import DnsState

MANY_OVERWRITES = 3


def health_items(state: DnsState) -> tuple[HealthItem, ...]:
    return (*_places(state), *_os(state), *_upstreams(state), *_control(state))


def _places(state: DnsState) -> Iterator[HealthItem]:
    if state.refused:
        text = "; ".join(f"{place}: {reason}" for place, reason in sorted(state.refused.items()))
        mend = "end the program that has the port there, or set plugins.magicdns.lan_addresses or port"
        yield HealthItem("dns-port-taken", f"the resolver cannot listen at {text}", mend)


def _os(state: DnsState) -> Iterator[HealthItem]:
    if state.os.error and (state.config.os != "auto" or state.os.code != "helper-away"):
        mend = state.os.mend or "set plugins.magicdns.os to another way, or to off"
        yield HealthItem("dns-set-os-config-failed", f"the host's resolver is not set: {state.os.error}", mend)
    if state.os.overwritten >= MANY_OVERWRITES:
        text = f"another program has written over the host's resolver {state.os.overwritten} times"
        mend = "let that program leave /etc/resolv.conf alone, or set plugins.magicdns.os to its way"
        yield HealthItem("resolv-conf-overwritten", text, mend)


def _upstreams(state: DnsState) -> Iterator[HealthItem]:
    if state.own is not None and all(each.route for each in state.upstreams):
        text = "no resolver is known for names outside of the mesh"
        yield HealthItem("dns-no-upstream", text, "set plugins.magicdns.upstreams, for instance to 9.9.9.9")
    if state.failing_s >= FAILING_S:
        broken = ", ".join(f"{each.name} ({each.error})" for each in state.upstreams if each.error)
        text = f"no resolver has answered for {state.failing_s:.0f} s: {broken or 'the reason is not known'}"
        mend = "check the way to the Internet, or set plugins.magicdns.upstreams"
        yield HealthItem("dns-forward-failing", text, mend)
    if state.ca_problem:
        text = f"the CA file {state.config.ca_file} cannot be used: {state.ca_problem}"
        mend = "name a PEM file that waypostd may read in plugins.magicdns.ca_file"
        yield HealthItem("dns-ca-file", text, mend)
    untrusted = sorted({f"{each.name} ({each.error})" for each in state.upstreams if each.untrusted})
    if untrusted:
        text = f"resolvers that cannot prove who they are get no questions: {', '.join(untrusted)}"
        mend = "correct the name behind the #, or name their CA in plugins.magicdns.ca_file"
        yield HealthItem("dns-upstream-untrusted", text, mend)
    looping = sorted({each.name for each in state.upstreams if each.looping})
    if looping:
        text = f"questions to {', '.join(looping)} come back to this gateway"
        yield HealthItem("dns-loop", text, "give that resolver another upstream than this gateway")


def _control(state: DnsState) -> Iterator[HealthItem]:
    wrong = (*state.wrong_resolvers, *state.wrong_records)
    if wrong:
        text = f"control sets DNS entries that cannot be used: {', '.join(wrong[:5])}"
        yield HealthItem("dns-settings-ignored", text, "correct the DNS settings of the control server", Severity.LOW)
