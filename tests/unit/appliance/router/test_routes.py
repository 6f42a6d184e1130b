"""Desired addresses, routes and rules, and differences."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

from appliance.ports.netlink import InterfaceAddress, PolicyRule, Route, RouteKind
from appliance.router.model import GUARD_METRIC, Guard, RouterModel
from appliance.router.routes import desired, difference, ours, policy_rules, route_changes

MODEL = RouterModel(
    addresses=(ip_network("100.64.0.1/32"), ip_network("fd7a:115c:a1e0::1/128")),
    routes=(ip_network("100.64.0.2/32"), ip_network("10.0.0.0/8"), ip_network("fd7a:115c:a1e0::/48")),
    local_routes=(ip_network("10.1.0.0/16"),),
)


def test_ok__rules_of_the_field():
    assert [(rule.priority, rule.table, rule.mark) for rule in policy_rules(4)] == [
        (5210, 254, 0x80000),
        (5230, 253, 0x80000),
        (5250, 0, 0x80000),
        (5270, 52, 0),
    ]


def test_ok__table_52():
    items = desired(MODEL)
    assert Route(ip_network("10.1.0.0/16"), 52, RouteKind.THROW) in items
    assert Route(ip_network("10.0.0.0/8"), 52, interface="waypost0") in items
    assert InterfaceAddress("waypost0", ip_interface("100.64.0.1/32")) in items
    assert len([item for item in items if isinstance(item, PolicyRule)]) == 8


def test_ok__without_ipv6():
    assert not [item for item in desired(MODEL, (4,)) if "IPv6" in str(item) or "::" in str(item)]


def test_ok__difference_replaces_in_place():
    after = replace(MODEL, local_routes=(), routes=(*MODEL.routes[1:], ip_network("10.1.0.0/16")))
    remove, add = difference(desired(MODEL), desired(after))
    assert remove == [Route(ip_network("100.64.0.2/32"), 52, interface="waypost0")]
    assert add == [Route(ip_network("10.1.0.0/16"), 52, interface="waypost0")]


def test_ok__ours_are_told_from_others():
    foreign = PolicyRule(4, 5270, 52, protocol=0)
    kept = Route(ip_network("10.9.0.0/16"), 52, interface="other0", protocol=3)
    home = InterfaceAddress("waypost0", ip_interface("192.168.3.1/24"))
    mine = [*desired(MODEL)]
    held = [item for item in (*mine, foreign, kept, home)]
    found = ours(
        "waypost0",
        [item for item in held if isinstance(item, InterfaceAddress)],
        [item for item in held if isinstance(item, Route)],
        [item for item in held if isinstance(item, PolicyRule)],
    )
    assert set(found) == set(mine)


def test_ok__excepted_destinations_keep_the_hosts_routes():
    place = ip_network("198.51.100.0/24")
    guarded = replace(MODEL, routes=(ip_network("0.0.0.0/0"), place), guard=Guard(direct=(place,)))
    assert Route(place, 52, RouteKind.THROW) in desired(guarded)
    assert Route(place, 52, interface="waypost0") not in desired(guarded)


def test_ok__own_routes_of_the_same_length_go_first():
    site, site_v6 = ip_network("10.8.0.0/16"), ip_network("fd00:8::/64")
    small, unused = ip_network("10.9.1.0/24"), ip_network("0.0.0.0/0")
    own_first = frozenset({site, site_v6, small, unused})
    model = replace(MODEL, routes=(*MODEL.routes, site, site_v6, small), own_first=own_first)
    added = set(desired(model)) - set(desired(MODEL))
    rules = sorted((each for each in added if isinstance(each, PolicyRule)), key=lambda each: each.priority)
    assert [(each.version, each.priority, each.table, each.longer_than) for each in rules] == [
        (6, 5428, 254, 63),
        (6, 5429, 56, 63),
        (4, 5508, 254, 23),
        (4, 5509, 56, 23),
        (4, 5524, 254, 15),
        (4, 5525, 56, 15),
    ], "the longest first"
    ways = {Route(each, 56, interface="waypost0") for each in (site, site_v6, small)}
    assert added - {*rules} == ways | {Route(each, 52, RouteKind.THROW) for each in (site, site_v6, small)}
    assert set(ours("waypost0", [], [each for each in added if isinstance(each, Route)], rules)) == added
    assert route_changes(replace(model, routes=model.routes[:-1]), model) == (
        [],
        [Route(small, 52, RouteKind.THROW), Route(small, 56, interface="waypost0")],
    )
    guarded = replace(model, guard=Guard())
    assert set(desired(guarded)) == set(desired(replace(guarded, own_first=frozenset()))), "what is held in goes first"


def test_ok__an_exit_leaves_no_way_beside_it():
    lan = ip_network("192.168.10.0/24")
    guarded = replace(MODEL, guard=Guard(near=(lan,)))
    added = set(desired(guarded)) - set(desired(MODEL))
    ends = {str(item.destination) for item in added if item.kind is RouteKind.UNREACHABLE}
    assert ends == {"0.0.0.0/0", "::/0"}
    kept = {str(item.destination) for item in added if item.kind is RouteKind.THROW}
    assert kept == {"192.168.10.0/24", "169.254.0.0/16", "224.0.0.0/4", "fe80::/10", "ff00::/8"}
    default = ip_network("0.0.0.0/0")
    serving = desired(replace(guarded, routes=(*MODEL.routes, default)))
    assert Route(default, 52, interface="waypost0") in serving
    assert Route(default, 52, RouteKind.UNREACHABLE, metric=GUARD_METRIC) in serving


def test_ok__an_exit_for_hosts_behind_this_one_alone():
    lan, default = ip_network("192.168.10.0/24"), ip_network("0.0.0.0/0")
    alone = replace(MODEL, guard=Guard(near=(lan,), gateway_direct=True))
    serving = replace(alone, routes=(*MODEL.routes, default))
    items = desired(serving)
    assert Route(default, 55, interface="waypost0") in items
    assert Route(default, 55, RouteKind.UNREACHABLE, metric=GUARD_METRIC) in items
    assert {Route(prefix, 55, RouteKind.THROW) for prefix in (lan, *MODEL.local_routes)} <= set(items)
    assert not [item for item in items if isinstance(item, Route) and item.table == 52 and item.destination == default]
    assert Route(ip_network("10.0.0.0/8"), 52, interface="waypost0") in items
    last = [item for item in items if isinstance(item, PolicyRule) and item.priority > 5270]
    assert last == [PolicyRule(version, 5280, 55, forwarded=True) for version in (4, 6)]
    assert route_changes(alone, serving) == ([], [Route(default, 55, interface="waypost0")])
    assert set(ours("waypost0", [], [item for item in items if isinstance(item, Route)], last)) >= set(last)
