"""One contract per hook: what the core relies on, as a function to call from a plugin's tests.

Each takes the plugin object (configured), a host and the hook's arguments, calls the hook and raises AssertionError
with the reason when the contract is broken; it returns the hook's result for further checks. All check that the call is
quick, that its result is of the declared type, and that it equals itself after a trip through JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_network
from time import perf_counter
from typing import Any

import msgspec

from appliance.api.hookspecs import PROJECT
from appliance.api.host import HostHandle, Service
from appliance.api.offered import OfferedRoutes, plain
from appliance.api.settings import setting_fields
from appliance.api.values import (
    AttachedPrefix,
    CommandReply,
    FirewallPart,
    HealthItem,
    HostFacts,
    HostinfoPart,
    Metric,
    NetmapChange,
    OfferedRoute,
    Panel,
    RelayOffer,
    RelayRequest,
    RouteSelection,
    SettingField,
)
from appliance.types.addresses import parse_addr_port
from appliance.types.keys import DiscoPublicKey
from appliance.types.senders import parse_senders

SLOW_S = 0.5
"""Ten times the largest budget or more, so that a busy test machine does not fail a good plugin."""

_METRIC_NAME = re.compile(r"waypost_[a-z0-9_]+")
_CODE = re.compile(r"[a-z0-9][a-z0-9-]*")


def round_trip(value: Any, kind: Any) -> None:
    """Assert that the value survives JSON as `kind`."""
    again = msgspec.json.decode(msgspec.json.encode(value, enc_hook=plain), type=kind)
    assert again == value, f"{value!r} came back from JSON as {again!r}"


def call_hook(plugin: object, hook: str, **arguments: Any) -> Any:
    """Call one hook of a plugin object with the arguments that it takes, timed."""
    method = getattr(plugin, hook)
    assert getattr(method, f"{PROJECT}_impl", None) is not None, f"{hook} lacks @hookimpl"
    code = method.__func__.__code__
    taken = code.co_varnames[1 : code.co_argcount]
    started = perf_counter()
    result = method(**{name: arguments[name] for name in taken})
    assert perf_counter() - started < SLOW_S, f"{hook} is too slow"
    return result


def check_configure(plugin: object, host: HostHandle, config: Any) -> None:
    """The configuration has plain values, can be described as a form, and setting it twice is fine."""
    round_trip(config, type(config))
    round_trip(setting_fields(config), tuple[SettingField, ...])
    for _ in range(2):
        assert call_hook(plugin, "appliance_configure", host=host, config=config) is None


def check_start(plugin: object, host: HostHandle) -> tuple[Service, ...]:
    """Services with unique names."""
    services = tuple(call_hook(plugin, "appliance_start", host=host) or ())
    assert all(isinstance(service, Service) for service in services), "appliance_start returned something else"
    names = [service.name for service in services]
    assert len(set(names)) == len(names), f"services share a name: {names}"
    return services


def check_netmap_changed(plugin: object, host: HostHandle, change: NetmapChange) -> None:
    """Full, partial and empty changes are taken, in any order."""
    for each in (change, NetmapChange(), NetmapChange(removed=("unknown",)), NetmapChange(full=True), change):
        assert call_hook(plugin, "appliance_netmap_changed", host=host, change=each) is None


def check_contribute_hostinfo(plugin: object, host: HostHandle) -> HostinfoPart | None:
    """A part with valid ports, the same on each call."""
    part = call_hook(plugin, "appliance_contribute_hostinfo", host=host)
    assert part == call_hook(plugin, "appliance_contribute_hostinfo", host=host), "differs from call to call"
    if part is None:
        return None
    round_trip(part, HostinfoPart)
    assert all(1 <= service.port <= 65535 for service in part.services)
    return part  # type: ignore[no-any-return]  # the round trip held its type


def check_contribute_routes(plugin: object, host: HostHandle) -> tuple[str, ...]:
    """Prefixes in normal form, none twice, the same on each call."""
    routes = tuple(call_hook(plugin, "appliance_contribute_routes", host=host) or ())
    assert routes == tuple(call_hook(plugin, "appliance_contribute_routes", host=host) or ()), "differs between calls"
    _assert_prefixes(routes)
    return routes


def check_accept_routes(
    plugin: object, host: HostHandle, offered: Iterable[OfferedRoute], attached: tuple[AttachedPrefix, ...]
) -> RouteSelection | None:
    """Judges only what is offered, each prefix once; no accepted prefix equals an attached one, none gives way that is
    not accepted."""
    routes = OfferedRoutes(offered)
    selection = call_hook(plugin, "appliance_accept_routes", host=host, offered=routes, attached=attached)
    if selection is None:
        return None
    round_trip(selection, RouteSelection)
    judged = list(selection.verdicts)
    _assert_prefixes(judged)
    assert set(judged) <= {route.prefix for route in routes}, "judges prefixes that nobody offered"
    local = {prefix.prefix for prefix in attached}
    assert not local & set(selection.accepted), "accepts a prefix that this host is attached to"
    assert set(selection.own_first) <= set(selection.accepted), "gives way with prefixes that it does not accept"
    assert set(selection.throws) <= local, "throws for prefixes that are not attached"
    return selection  # type: ignore[no-any-return]  # the round trip held its type


def check_contribute_firewall(plugin: object, host: HostHandle) -> FirewallPart | None:
    """Prefixes in normal form, none twice; hosts and resolvers that can be read; an uplink of one kind at most."""
    part = call_hook(plugin, "appliance_contribute_firewall", host=host)
    if part is None:
        return None
    round_trip(part, FirewallPart)
    _assert_prefixes(part.forwarded)
    _assert_prefixes([each.inside for each in part.translations])
    _assert_prefixes([each.outside for each in part.translations])
    for shape in part.shapes:
        assert shape.rate_kbit > 0, f"{shape} lets nothing pass"
        _assert_prefixes(shape.destinations)
    names = [shape.name for shape in part.shapes if shape.name]
    assert len(set(names)) == len(names), f"two shapes are counted under one name: {names}"
    for each in part.translations:
        inside, outside = ip_network(each.inside), ip_network(each.outside)
        assert (inside.version, inside.prefixlen) == (outside.version, outside.prefixlen), f"{each} is not one to one"
        assert each.outside in part.forwarded, f"{each.outside} is not forwarded"
    if part.guard is not None:
        _assert_prefixes(part.guard.direct)
        parse_senders((*part.guard.hosts, *part.guard.not_hosts))
    if part.uplink is not None:
        assert not (part.uplink.interface and part.uplink.port), "an uplink is a link or a port, not both"
        assert 0 <= part.uplink.port < 1 << 16, f"{part.uplink.port} is no port"
        for place in part.uplink.resolvers:
            parse_addr_port(place)
    return part  # type: ignore[no-any-return]  # the round trip held its type


def check_relay_request(plugin: object, host: HostHandle, request: RelayRequest) -> RelayOffer | None:
    """An offer with a number, a key and addresses that parse; the same pair gets the same number again."""
    offer = call_hook(plugin, "appliance_relay_request", host=host, request=request)
    if offer is None:
        return None
    round_trip(offer, RelayOffer)
    assert 1 <= offer.vni < 1 << 24, f"VNI {offer.vni} has more than 24 bits or is 0"
    assert offer.addresses, "an offer needs an address"
    assert offer.bind_lifetime_s > 0
    assert offer.steady_lifetime_s > 0
    DiscoPublicKey.parse(offer.server)
    for address in offer.addresses:
        parse_addr_port(address)
    again = call_hook(plugin, "appliance_relay_request", host=host, request=request)
    assert again is not None, "the same request was refused the second time"
    assert again.vni == offer.vni, "the same pair got another number"
    return offer  # type: ignore[no-any-return]  # the round trip held its type


def check_check_health(plugin: object, host: HostHandle, facts: HostFacts) -> tuple[HealthItem, ...]:
    """Unique codes, a text and a mend in each; unknown facts raise nothing."""
    call_hook(plugin, "appliance_check_health", host=host, facts=HostFacts())
    items = tuple(call_hook(plugin, "appliance_check_health", host=host, facts=facts) or ())
    round_trip(items, tuple[HealthItem, ...])
    codes = [item.code for item in items]
    assert len(set(codes)) == len(codes), f"codes appear twice: {codes}"
    for item in items:
        assert _CODE.fullmatch(item.code), f"code {item.code!r} is not lower-case words joined by '-'"
        assert item.text, f"{item.code} lacks its text"
        assert item.mend, f"{item.code} lacks its mend"
    return items


def check_status_panel(plugin: object, host: HostHandle) -> Panel | None:
    """A title, and no markup; each form has a name of its own and no setting twice."""
    panel = call_hook(plugin, "appliance_status_panel", host=host)
    if panel is None:
        return None
    round_trip(panel, Panel)
    assert panel.title
    assert not any("</" in row.value or "</" in row.detail for row in panel.rows), "panels carry no markup"
    labels = [form.label for form in panel.forms]
    assert all(labels), "a form has no label"
    assert len(set(labels)) == len(labels), f"forms share a label: {labels}"
    assert not any(len(set(form.keys)) < len(form.keys) for form in panel.forms), "a form names a setting twice"
    return panel  # type: ignore[no-any-return]  # the round trip held its type


def check_forms(panel: Panel | None, config: Any) -> None:
    """The forms of a panel name settings of this configuration that a form can hold."""
    known = {field.key.partition(".")[0] for field in setting_fields(config)}
    for form in panel.forms if panel is not None else ():
        assert set(form.keys) <= known, f"{form.label!r} names {sorted(set(form.keys) - known)}, which no form can hold"


def check_metrics(plugin: object, host: HostHandle) -> tuple[Metric, ...]:
    """Names with our prefix, a help text, no sample twice."""
    metrics = tuple(call_hook(plugin, "appliance_metrics", host=host) or ())
    round_trip(metrics, tuple[Metric, ...])
    identities = [(metric.name, tuple(sorted(metric.labels.items()))) for metric in metrics]
    assert len(set(identities)) == len(identities), "a sample appears twice"
    for metric in metrics:
        assert _METRIC_NAME.fullmatch(metric.name), metric.name
        assert metric.help, f"{metric.name} lacks its help"
    return metrics


def check_run_command(plugin: object, host: HostHandle, command: str, arguments: tuple[str, ...] = ()) -> CommandReply:
    """A reply with a text."""
    reply = call_hook(plugin, "appliance_run_command", host=host, command=command, arguments=arguments)
    round_trip(reply, CommandReply)
    assert reply.text.strip(), f"{command} says nothing"
    return reply  # type: ignore[no-any-return]  # the round trip held its type


def check_stop(plugin: object, host: HostHandle) -> None:
    """May be called twice."""
    for _ in range(2):
        assert call_hook(plugin, "appliance_stop", host=host) is None


HOOK_CONTRACTS: dict[str, Callable[..., Any]] = {
    "appliance_configure": check_configure,
    "appliance_start": check_start,
    "appliance_netmap_changed": check_netmap_changed,
    "appliance_contribute_hostinfo": check_contribute_hostinfo,
    "appliance_contribute_routes": check_contribute_routes,
    "appliance_accept_routes": check_accept_routes,
    "appliance_contribute_firewall": check_contribute_firewall,
    "appliance_relay_request": check_relay_request,
    "appliance_check_health": check_check_health,
    "appliance_status_panel": check_status_panel,
    "appliance_metrics": check_metrics,
    "appliance_run_command": check_run_command,
    "appliance_stop": check_stop,
}
"""The contract of every hook, by hook name."""


def _assert_prefixes(prefixes: Sequence[str]) -> None:
    for prefix in prefixes:
        assert str(ip_network(prefix)) == prefix, f"{prefix!r} is not in normal form"
    assert len(set(prefixes)) == len(prefixes), f"a prefix appears twice: {prefixes}"
