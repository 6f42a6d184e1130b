"""Sections `nodeAttrs`, `autoApprovers`, `attrConfig` and the switches (policy spec 1.2, 1.8, 1.9)."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from appliance.types.addresses import CGNAT_V4
from control.policy.model import AutoApprovers, NodeAttrs
from control.policy.problems import did_you_mean
from control.policy.read_names import APPROVERS, APPROVERS_MEND
from control.policy.reader import plain
from control.policy.selectors import SERVICE, TAG, Kind, SelectorError, parse_network, parse_selector

if TYPE_CHECKING:
    from appliance.types.addresses import Prefix
    from control.policy.hujson import Member, Value
    from control.policy.reader import Reader
    from control.policy.selectors import Selector

APP_CONNECTORS = "tailscale.com/app-connectors"
_TARGETS = frozenset(
    {Kind.ANY, Kind.PREFIX, Kind.IPSET, Kind.USER, Kind.DOMAIN, Kind.GROUP, Kind.TAG, Kind.MEMBER, Kind.TAGGED,
     Kind.ROLE}
)  # fmt: skip
_RESERVED = (IPv4Network("100.100.100.0/24"), IPv4Network("100.115.92.0/23"))
_CONNECTOR = ("name", "connectors", "domains", "routes", "presetAppID")


def read_node_attrs(reader: Reader, section: Value | None) -> tuple[NodeAttrs, ...]:
    return tuple(_entry(reader, item) for item in reader.items(section, "nodeAttrs") if _is_object(reader, item))


def _is_object(reader: Reader, item: Value) -> bool:
    if not item.is_object:
        reader.problem(item.place, f"a rule of nodeAttrs must be an object, not {item.kind}", "write { … }")
    return item.is_object


def _entry(reader: Reader, item: Value) -> NodeAttrs:
    fields = reader.fields(item, "a rule of nodeAttrs", ("target", "attr", "app", "ipPool"))
    if "target" not in fields:
        reader.problem(item.place, 'rule without "target"', 'add "target": ["*"]')
    attributes = reader.strings(fields.get("attr"), "attr")
    for text, place in attributes:
        if not text or len(text) > 512:
            reader.problem(place, "attr values are 1 to 512 characters long", "remove it")
    return NodeAttrs(
        place=item.place,
        targets=_targets(reader, fields.get("target")),
        attributes=tuple(text for text, _ in attributes),
        connectors=_app_connectors(reader, fields.get("app")),
        pools=_pools(reader, fields.get("ipPool")),
    )


def _targets(reader: Reader, value: Value | None) -> tuple[Selector, ...]:
    found: list[Selector] = []
    for text, place in reader.strings(value, "target"):
        try:
            selector = parse_selector(text, reader.names)
        except SelectorError as error:
            bad = error.text.startswith(("host not found", "invalid alias"))
            reader.problem(place, f'"{text}": invalid address' if bad else error.text, error.mend)
            continue
        if selector.kind is Kind.USER:
            reader.users.setdefault(selector.value, place)
        if selector.kind in _TARGETS:
            found.append(selector)
        else:
            mend = "users, groups, tags, autogroups of nodes, addresses and * are"
            reader.problem(place, f'target: "{text}" is not valid here', mend)
    return tuple(found)


def _app_connectors(reader: Reader, value: Value | None) -> tuple[Any, ...]:
    """The lists of app connectors, each checked as far as nodes depend on it."""
    found: list[Any] = []
    for member in reader.unique_members(value, "app"):
        if member.name != APP_CONNECTORS:
            mend = did_you_mean(member.name, [APP_CONNECTORS]) or f'write "{APP_CONNECTORS}"'
            reader.problem(member.place, f'unknown application: "{member.name}"', mend)
            continue
        for item in reader.items(member.value, APP_CONNECTORS):
            fields = reader.fields(item, "an app connector", _CONNECTOR)
            for text, place in reader.strings(fields.get("connectors"), "connectors"):
                if text != "*":
                    reader.selector(text, place, "connectors: ")
            for text, place in reader.strings(fields.get("routes"), "routes"):
                if parse_network(text) is None:
                    reader.problem(place, f'routes: not a network: "{text}"', "write it with zero host bits")
            reader.strings(fields.get("domains"), "domains")
            found.append(plain(item))
    return tuple(found)


def _pools(reader: Reader, value: Value | None) -> tuple[IPv4Network, ...]:
    found: list[IPv4Network] = []
    for text, place in reader.strings(value, "ipPool"):
        pool = parse_network(text)
        if not isinstance(pool, IPv4Network):
            reader.problem(place, f"IPPool({text}): not an IPv4 network", 'write "100.81.0.0/16"')
        elif not pool.subnet_of(CGNAT_V4):
            reader.problem(place, f"IPPool({text}): network outside {CGNAT_V4}", f"choose one inside {CGNAT_V4}")
        elif any(pool.overlaps(reserved) for reserved in _RESERVED):
            reader.problem(place, f"IPPool({text}): network within reserved range", "choose another")
        else:
            found.append(pool)
    return tuple(found)


def read_auto_approvers(reader: Reader, section: Value | None) -> AutoApprovers:
    if section is None:
        return AutoApprovers()
    fields = reader.fields(section, "autoApprovers", ("routes", "exitNode", "services"))
    routes: list[tuple[Prefix, tuple[Selector, ...]]] = []
    for member in reader.unique_members(fields.get("routes"), "autoApprovers.routes"):
        prefix = parse_network(member.name)
        what = f'autoApprovers.routes["{member.name}"]'
        if prefix is None:
            reader.problem(member.place, f"{what}: not a network", "write it with zero host bits, as 10.0.0.0/8")
            continue
        routes.append((prefix, _approvers(reader, member.value, what)))
    services = tuple(
        (member.name, _approvers(reader, member.value, f'autoApprovers.services["{member.name}"]'))
        for member in reader.unique_members(fields.get("services"), "autoApprovers.services")
        if _is_service(reader, member)
    )
    exit_node = _approvers(reader, fields.get("exitNode"), "autoApprovers.exitNode")
    return AutoApprovers(tuple(routes), exit_node, services)


def _approvers(reader: Reader, value: Value | None, what: str) -> tuple[Selector, ...]:
    return reader.selectors(value, what, APPROVERS, APPROVERS_MEND)


def _is_service(reader: Reader, member: Member) -> bool:
    good = bool(SERVICE.fullmatch(member.name) or TAG.fullmatch(member.name))
    if not good:
        text = f'autoApprovers.services["{member.name}"]: not a service or tag'
        reader.problem(member.place, text, 'write "svc:name" or "tag:name"')
    return good


def read_attribute_types(
    reader: Reader, section: Value | None
) -> tuple[dict[str, str], frozenset[str], dict[str, tuple[Selector, ...]]]:
    """`attrConfig`: the types of custom attributes, which of them nodes may set, and who sees them of peers."""
    types: dict[str, str] = {}
    settable: set[str] = set()
    broadcasts: dict[str, tuple[Selector, ...]] = {}
    for member in reader.unique_members(section, "attrConfig"):
        what = f'attrConfig["{member.name}"]'
        if not member.name.startswith("custom:") or member.name == "custom:":
            bare = member.name.rpartition(":")[2]
            reader.problem(member.place, f"{what}: only custom attributes are configured", f'write "custom:{bare}"')
        fields = reader.fields(member.value, what, ("type", "allowSetByNode", "broadcastToPeers"))
        kind = reader.text(fields.get("type"), f"{what}.type")
        if kind not in ("string", "bool", "number"):
            place = fields["type"].place if "type" in fields else member.place
            reader.problem(place, f'{what}: unknown type "{kind}"', "string, bool or number")
        if reader.flag(fields.get("allowSetByNode"), f"{what}.allowSetByNode"):
            settable.add(member.name)
        shown_to = reader.selectors(
            fields.get("broadcastToPeers"), f"{what}.broadcastToPeers", _TARGETS, APPROVERS_MEND
        )
        if shown_to:
            broadcasts[member.name] = shown_to
        types[member.name] = kind
    return types, frozenset(settable), broadcasts


def read_global_attrs(reader: Reader, sections: dict[str, Value]) -> tuple[str, ...]:
    """Attributes of every node that switches stand for."""
    found: list[str] = []
    if reader.flag(sections.get("randomizeClientPort"), "randomizeClientPort"):
        found.append("randomize-client-port")
    if reader.flag(sections.get("disableIPv4"), "disableIPv4"):
        found.append("disable-ipv4")
    value = sections.get("oneCGNATRoute")
    choice = reader.text(value, "oneCGNATRoute")
    attribute = {"mac-always": "one-cgnat?v=true", "mac-never": "one-cgnat?v=false"}.get(choice)
    if attribute is not None:
        found.append(attribute)
    elif choice and value is not None:
        reader.problem(value.place, f'unknown oneCGNATRoute: "{choice}"', '"", "mac-always" or "mac-never"')
    return tuple(found)
