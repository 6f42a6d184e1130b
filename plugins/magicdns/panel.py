"""Pure: the plugin's state as a panel of the status page."""

from __future__ import annotations

from appliance.api import Panel, PanelAction, PanelForm, PanelRow
from plugins.magicdns.health import health_items
from plugins.magicdns.state import DnsState, UpstreamState

WAY_WORDS = {
    "image": "by the image's own file",
    "file": "by /etc/resolv.conf",
    "resolved": "by systemd-resolved",
    "network-manager": "by NetworkManager",
    "resolvconf": "by resolvconf",
}
SHOWN = 12
FORMS = (
    PanelForm("Resolvers", ("upstreams", "routes", "accept", "ca_file")),
    PanelForm("Names answered here", ("records", "search", "short_names")),
    PanelForm("Hosts of this site", ("serve_lan", "lan_addresses", "lan_clients", "port")),
    PanelForm("Rebinding protection", ("rebind_protection", "rebind_allow")),
    PanelForm("This host and the cache", ("os", "cache_entries", "serve_stale_s")),
)


def panel(state: DnsState) -> Panel:
    return Panel(
        title="Names",
        health=health_items(state),
        rows=(_names(state), *_places(state), _host(state), *_upstreams(state), *_counts(state)),
        actions=(_site_action(state),),
        forms=FORMS,
    )


def _names(state: DnsState) -> PanelRow:
    domains = ", ".join(state.dns.domains) or "no search domain"
    return PanelRow("Names of the mesh", str(state.names), domains)


def _places(state: DnsState) -> tuple[PanelRow, ...]:
    good = tuple(PanelRow("Answers at", place) for place in state.listening)
    bad = tuple(PanelRow("Cannot listen", place, reason, bad=True) for place, reason in sorted(state.refused.items()))
    return good + bad or (PanelRow("Answers at", "nowhere", "this gateway is not in a mesh"),)


def _host(state: DnsState) -> PanelRow:
    if state.os.way is not None:
        scope = f"only {', '.join(state.os.domains[:3])} …" if state.os.domains else "all names"
        return PanelRow("This host asks here", WAY_WORDS[state.os.way], scope)
    if state.os.error:
        return PanelRow("This host asks here", "no", state.os.error, bad=state.os.code != "helper-away")
    return PanelRow("This host asks here", "no", "turned off" if state.config.os == "off" else "nothing to ask for")


def _upstreams(state: DnsState) -> tuple[PanelRow, ...]:
    rows = tuple(_upstream(each) for each in state.upstreams[:SHOWN])
    more = len(state.upstreams) - SHOWN
    return (*rows, PanelRow("Resolver", f"and {more} more")) if more > 0 else rows


def _upstream(upstream: UpstreamState) -> PanelRow:
    label = f"Resolver for {upstream.route}" if upstream.route else "Resolver"
    if upstream.looping:
        return PanelRow(label, upstream.name, "asks this gateway back; not used", bad=True)
    if upstream.error:
        return PanelRow(label, upstream.name, upstream.error, bad=True)
    speed = f"{upstream.latency_s * 1000:.0f} ms" if upstream.latency_s else "not asked yet"
    return PanelRow(label, upstream.name, speed)


def _counts(state: DnsState) -> tuple[PanelRow, ...]:
    counted = state.counters
    detail = f"{counted.get('local', 0)} of the mesh, {counted.get('cached', 0)} from the cache"
    return (PanelRow("Questions", str(counted.get("queries", 0)), detail),)


def _site_action(state: DnsState) -> PanelAction:
    label = "Stop answering this site's hosts" if state.config.serve_lan else "Answer this site's hosts"
    return PanelAction(label, {"serve_lan": not state.config.serve_lan})
