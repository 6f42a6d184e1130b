"""Pure: the plugin's state as a panel of the status page."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.api import Panel, PanelAction, PanelForm, PanelRow
from appliance.types.addresses import CGNAT_V4, ULA_V6, known_prefix, literal
from plugins.subnet_router.health import health_items
from plugins.subnet_router.limit_report import limit_words
from plugins.subnet_router.one_to_one import example_host, translation_text
from plugins.subnet_router.rules import by_family
from plugins.subnet_router.state import RouterState
from plugins.subnet_router.via import example_name

FORMS = (
    PanelForm(
        "Offer subnets",
        ("advertise_routes", "auto", "auto_except", "probes", "shared_address", "shared_address_v6", "snat"),
    ),
    PanelForm("Use subnets of peers", ("accept_routes", "accept_only", "refuse_routes", "own_first", "mesh_first")),
    PanelForm("Translate networks", ("translate", "translation_pool")),
    PanelForm("Limit rates", ("limits",)),
)
OWN_FIRST = "after this host's own routes"


def panel(state: RouterState) -> Panel:
    return Panel(
        title="Subnet routes",
        health=health_items(state),
        rows=(
            *_advertised(state),
            *_shared(state),
            *_translated(state),
            *_one_to_one(state),
            *_limited(state),
            *_accepted(state),
            _snat(state),
        ),
        actions=(_accept_action(state),),
        forms=FORMS,
    )


def _advertised(state: RouterState) -> tuple[PanelRow, ...]:
    waiting = frozenset(state.waiting)
    return tuple(
        PanelRow("Advertised", shown(state, prefix), _approval(state, prefix, prefix in waiting), bad=prefix in waiting)
        for prefix in state.offered
    ) + tuple(PanelRow("Not reached", prefix, reason, bad=True) for prefix, reason in state.lost.items())


def shown(state: RouterState, route: str) -> str:
    """A route, with the site's own network where the mesh knows it by another."""
    lan = state.lan_of(route)
    return route if lan == route else f"{route} = {lan}"


def _translated(state: RouterState) -> tuple[PanelRow, ...]:
    seen, plan = state.translation, state.translation_plan
    if plan is None:
        return ()
    name = f"hosts have names like {example_name(plan.served[0])}"
    if seen is None:
        return (PanelRow("4via6", "starting", name),)
    return (PanelRow("4via6", f"{seen.to_site} packets in, {seen.to_mesh} out, {seen.senders} senders", name),)


def _one_to_one(state: RouterState) -> tuple[PanelRow, ...]:
    return tuple(
        PanelRow("One to one", translation_text(each), f"hosts have names like {example_host(each, state.name)}")
        for each in state.config.translations
        if state.name
    )


def _limited(state: RouterState) -> tuple[PanelRow, ...]:
    return tuple(PanelRow("Limited", each.target, limit_words(state, each)) for each in state.config.parsed_limits)


def _approval(state: RouterState, prefix: str, waiting: bool) -> str:
    if state.approved is None:
        return "not yet known to control"
    if waiting:
        return "waits for approval"
    return "approved" if not state.primary or prefix in state.primary else "approved, another router serves it now"


def _accepted(state: RouterState) -> tuple[PanelRow, ...]:
    if not state.config.accept_routes:
        return (PanelRow("Accepted", "off", f"{state.offering} peers offer subnets"),)
    chosen = state.judged.selection
    used = sorted(map(known_prefix, chosen.accepted), key=by_family)
    behind = frozenset(chosen.own_first)
    good = tuple(PanelRow("Accepted", text, OWN_FIRST if text in behind else "") for text in map(str, used))
    bad = tuple(PanelRow("Refused", each.prefix, each.reason, bad=True) for each in chosen.refused)
    return good + bad or (PanelRow("Accepted", "none", "no peer offers a subnet"),)


def _shared(state: RouterState) -> tuple[PanelRow, ...]:
    return tuple(PanelRow("Shared address", address, _holding(state, address)) for address in state.config.shared)


def _holding(state: RouterState, address: str) -> str:
    names = sorted(interface for shared, interface in state.share_places if shared == address)
    return f"held here, on {', '.join(names)}" if names else "not held here"


def _snat(state: RouterState) -> PanelRow:
    if state.config.snat:
        return PanelRow("Source address", "gateway's own", "mesh traffic enters the own networks as the gateway")
    needed = " and ".join(_ways(state)) or f"the route {CGNAT_V4} via this gateway"
    return PanelRow("Source address", "kept", f"hosts need {needed}, and those of other sites")


def _ways(state: RouterState) -> Iterator[str]:
    """The hosts' routes to the mesh, in each IP version that a LAN has."""
    own = [literal(lan.address) for lan in state.attached if lan.prefix in state.offered]
    for mesh, shared in ((CGNAT_V4, state.config.shared_address), (ULA_V6, state.config.shared_address_v6)):
        way = shared or next((str(each) for each in own if each is not None and each.version == mesh.version), "")
        if way:
            yield f"the route {mesh} via {way}"


def _accept_action(state: RouterState) -> PanelAction:
    label = "Stop using peers' subnets" if state.config.accept_routes else "Use peers' subnets"
    return PanelAction(label, {"accept_routes": not state.config.accept_routes})
