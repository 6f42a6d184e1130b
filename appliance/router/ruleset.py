"""The whole nftables table of a model (node-os spec 1.3 and 1.5), pure.

Hooks, in the order in which a packet meets them. Verdicts of this table end only its own chains: another table's drop
still drops, which `appliance.router.foreign` finds.

| chain | hook, priority | does |
|---|---|---|
| host_out | output, -150 | remembers our bypass mark in conntrack; keeps our sockets out of the tunnel; no redirects |
| restore_mark | prerouting, -150 | gives replies the bypass mark back, for strict reverse-path filters |
| from_tunnel | prerouting, -110 | the packet filter; before destination NAT, so that it sees what the peer sent |
| nat_in | prerouting, -100 | gives what the mesh calls by another network its own address |
| host_in | input, -5 | WireGuard port; overlay sources that did not come by the tunnel |
| through | forward, -5 | marks what came from the tunnel; overlay sources that did not |
| clamp | forward, -150 | TCP MSS to the smaller route MTU of both directions |
| shape | postrouting, -150 | names the class of what is held to a rate |
| nat_out | postrouting, 100 | masquerades what came from the tunnel, or from a device of a plugin |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from appliance.ports.conntrack import Flow
from appliance.ports.firewall import NftChain, NftSet, NftTable
from appliance.ports.netlink import class_text
from appliance.router.classes import ClassRenderer
from appliance.router.compile import TSMP, VERSIONS, CompiledFilter, FamilyFilter, FilterCompiler
from appliance.router.locals import local_destinations
from appliance.router.model import MARK_BYPASS, MARK_FORWARDED, MARK_MASK, TABLE_FAMILY, TABLE_NAME, RouterModel
from appliance.router.ranges import address_text, interval_text, merge, prefix_interval
from appliance.types.addresses import CGNAT_V4, CHROMEOS_V4, DEFAULT_V4, DEFAULT_V6, ULA_V6

_KEEP = 0xFFFFFFFF & ~MARK_MASK
_ESTABLISHED = "ct state established,related accept"
_SYN = "tcp flags & (syn|rst) == syn"
_OPENING = "tcp flags & (syn|ack|rst|fin) == syn"
_REDIRECTS = ("icmp type redirect drop", "icmpv6 type nd-redirect drop")
"""Without the tunnel's route, a gateway with one network card would tell the LAN's hosts that the site's router is the
better way to the mesh, and they would believe it for minutes after a restart."""
_ICMP_OPEN = {
    4: "icmp type { echo-reply, destination-unreachable, time-exceeded, parameter-problem } accept",
    6: "icmpv6 type { echo-reply, destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept",
}
_WORD = {4: "ip", 6: "ip6"}
TCP = 6
_ENDED_TYPE = "ipv{0}_addr . inet_service . ipv{0}_addr . inet_service"
_ENDED_OPTIONS = "flags timeout; timeout 5d;"
"""As long as the kernel itself remembers an idle TCP flow."""


def compile_filter(model: RouterModel, compiler: FilterCompiler | None = None) -> CompiledFilter:
    """`compiler` remembers former filters. Raises `FilterError`."""
    rules = () if model.shields_up else model.rules
    return (compiler or FilterCompiler()).compile(rules, model.cap_sources, model.jailed)


class TableRenderer:
    """Renders one table after the other; sets that stay the same are the very same objects."""

    def __init__(self) -> None:
        self._classes = {version: ClassRenderer(version) for version in VERSIONS}

    def render(self, model: RouterModel, compiled: CompiledFilter) -> NftTable:
        """The whole table of a model with its compiled filter."""
        chains = [*_hooks(model), *_refused(model), _acl(model)]
        sets = [NftSet(f"ended{version}", _ENDED_TYPE.format(version), {}, _ENDED_OPTIONS) for version in _WORD]
        for family in compiled.families:
            family_sets, family_chains = _family(model, family, self._classes[family.version])
            sets += family_sets
            chains += family_chains
        sets += _site_sets(model)
        sets += [item for item in model.extra if isinstance(item, NftSet)]
        chains += [item for item in model.extra if isinstance(item, NftChain)]
        return NftTable(TABLE_FAMILY, TABLE_NAME, tuple(sets), tuple(chains))


def render_table(model: RouterModel, compiled: CompiledFilter) -> NftTable:
    """A table from nothing."""
    return TableRenderer().render(model, compiled)


def render_ended(flows: Iterable[Flow]) -> str:
    """A document that keeps the hosts' side of these TCP flows from taking them up again; empty when it has nothing."""
    found: dict[int, list[str]] = {4: [], 6: []}
    for flow in flows:
        if flow.protocol == TCP:
            server, client = (address_text(flow.version, value) for value in (flow.destination, flow.source))
            found[flow.version].append(f"{server} . {flow.destination_port} . {client} . {flow.source_port}")
    place = f"{TABLE_FAMILY} {TABLE_NAME}"
    return "".join(
        f"add element {place} ended{version} {{ {', '.join(keys)} }}\n" for version, keys in found.items() if keys
    )


def _marked(mark: int, key: str = "meta mark") -> str:
    return f"{key} & {MARK_MASK:#010x} == {mark:#010x}"


def _set_mark(mark: int, key: str = "meta mark") -> str:
    return f"{key} set {key} & {_KEEP:#010x} | {mark:#010x}"


def _base(kind: str, hook: str, priority: int) -> str:
    return f"type {kind} hook {hook} priority {priority}; policy accept;"


def _hooks(model: RouterModel) -> Iterator[NftChain]:
    came, goes = f'iifname "{model.interface}"', f'oifname "{model.interface}"'
    # Also of flows that are older than this table, such as the one to control at the start.
    fresh = f"ct mark & {MARK_MASK:#010x} != {MARK_BYPASS:#010x}"
    kept = f"{_marked(MARK_BYPASS)} {fresh} {_set_mark(MARK_BYPASS, 'ct mark')}"
    # Answers that the guard sends back the way their question came are told by their direction: the device that the
    # kernel shows here is the one of before the mark.
    loop = f"{goes} {_marked(MARK_BYPASS)} ct direction original counter drop"
    yield NftChain("host_out", (kept, loop, *_ended(goes), *_REDIRECTS), _base("filter", "output", -150))
    restored = f"ct state established,related {_marked(MARK_BYPASS, 'ct mark')} {_set_mark(MARK_BYPASS)}"
    yield NftChain("restore_mark", (restored,), _base("filter", "prerouting", -150))
    yield NftChain("from_tunnel", (f"{came} jump acl",), _base("filter", "prerouting", -110))
    yield NftChain("host_in", tuple(_host_in(model, came)), _base("filter", "input", -5))
    yield NftChain("through", tuple(_through(model, came, goes)), _base("filter", "forward", -5))
    if model.shapes:
        yield NftChain("shape", tuple(_shape(model, goes)), _base("filter", "postrouting", -150))
    clamp = "tcp option maxseg size set rt mtu"
    yield NftChain("clamp", (f"{goes} {_SYN} {clamp}", f"{came} {_SYN} {clamp}"), _base("filter", "forward", -150))
    if model.translations:
        yield NftChain("nat_in", tuple(_nat_in(model, came)), _base("nat", "prerouting", -100))
    if rules := tuple(_nat_out(model, goes)):
        yield NftChain("nat_out", rules, _base("nat", "postrouting", 100))


def _shape(model: RouterModel, goes: str) -> Iterator[str]:
    """The queue of the tunnel's device takes the class that the priority names."""
    for number, shape in enumerate(model.shapes, 1):
        for version, word in _WORD.items():
            fitting = merge(prefix_interval(each) for each in shape.destinations if each.version == version)
            if fitting:
                targets = ", ".join(interval_text(version, each) for each in fitting)
                yield f"{goes} {word} daddr {{ {targets} }} meta priority set {class_text(number)} accept"


def _nat_in(model: RouterModel, came: str) -> Iterator[str]:
    for inside, outside in model.translations:
        word = _WORD[outside.version]
        yield f"{came} {word} daddr {outside} dnat {word} prefix to {inside}"


def _nat_out(model: RouterModel, goes: str) -> Iterator[str]:
    for inside, outside in model.translations:
        word = _WORD[inside.version]
        yield f"{goes} {word} saddr {inside} snat {word} prefix to {outside}"
    for device in model.devices:
        yield f'oifname "{device.name}" accept'
        for prefix in device.masqueraded:
            yield f"{_WORD[prefix.version]} saddr {prefix} masquerade"
    if model.snat:
        yield f"{_marked(MARK_FORWARDED)} masquerade"
    else:
        yield from _exit_snat(model)


def _exit_snat(model: RouterModel) -> Iterator[str]:
    """Senders keep their addresses toward the site's networks; on the Internet nobody could answer them."""
    for version, word in _WORD.items():
        if (DEFAULT_V4 if version == 4 else DEFAULT_V6) in model.advertised:
            yield f"{_marked(MARK_FORWARDED)} {word} daddr != @site{version} masquerade"


def _site_sets(model: RouterModel) -> Iterator[NftSet]:
    for version, default in ((4, DEFAULT_V4), (6, DEFAULT_V6)):
        if not model.snat and default in model.advertised:
            served = [prefix_interval(each) for each in model.advertised if each.version == version and each != default]
            elements = {interval_text(version, item): "" for item in merge(served)}
            yield NftSet(f"site{version}", f"ipv{version}_addr", elements)


def _host_in(model: RouterModel, came: str) -> Iterator[str]:
    yield 'iifname "lo" accept'
    yield f"{came} accept"
    for port in model.udp_ports:
        yield f"udp dport {port} accept"
    if model.drop_cgnat:
        yield _ESTABLISHED
        yield f"ip saddr {CHROMEOS_V4} return"
        yield f"ip saddr {CGNAT_V4} counter drop"
        yield f"ip6 saddr {ULA_V6} counter drop"


def _through(model: RouterModel, came: str, goes: str) -> Iterator[str]:
    yield from _ended(goes)
    yield f"{came} {_set_mark(MARK_FORWARDED)}"
    yield f"{_marked(MARK_FORWARDED)} accept"
    for device in model.devices:
        yield f'{goes} iifname "{device.name}" ct state != {{ established, related }} counter drop'
        yield f'iifname "{device.name}" accept'
    yield f"{goes} ip saddr {CGNAT_V4} counter drop"
    yield f"{goes} ip6 saddr {ULA_V6} counter drop"
    if model.stateful:
        yield f"{goes} ct state established,related,untracked accept"
        yield f"{goes} counter drop"


def _ended(goes: str) -> Iterator[str]:
    """Of a flow that was ended the kernel would take the host's next segment for the start of a flow of ours."""
    for version, word in _WORD.items():
        flow = f"{word} saddr . tcp sport . {word} daddr . tcp dport @ended{version}"
        yield f"{goes} ct state new tcp flags & syn == 0 {flow} counter reject with tcp reset"


def _refused(model: RouterModel) -> Iterator[NftChain]:
    """Refused TCP connections are shown to the daemon, which tells the peer; a flood of them is not answered whole."""
    if model.log_group:
        show = f"{_OPENING} limit rate 100/second burst 100 packets log group {model.log_group}"
        yield NftChain("refused", (f"meta l4proto tcp {show}", "counter drop"))


def _drop(model: RouterModel) -> str:
    return "goto refused" if model.log_group else "counter drop"


def log_probe(group: int) -> NftTable:
    """Taken only by a kernel that can log to a group."""
    return NftTable(TABLE_FAMILY, f"{TABLE_NAME}_probe", chains=(NftChain("probe", (f"log group {group}",)),))


def _acl(model: RouterModel) -> NftChain:
    """What peers open is marked, so that `appliance.router.flows` finds it again."""
    families = ("meta nfproto ipv4 jump acl4", "meta nfproto ipv6 jump acl6")
    rules = (_ESTABLISHED, _set_mark(MARK_FORWARDED, "ct mark"), *families, _drop(model))
    return NftChain("acl", rules)


def _family(model: RouterModel, family: FamilyFilter, renderer: ClassRenderer) -> tuple[list[NftSet], list[NftChain]]:
    version, word = family.version, _WORD[family.version]
    open_to = {interval_text(version, item): "" for item in local_destinations(model, version)}
    classes = renderer.render(family)
    peerapi = [item for item in model.peerapi if item.is_v6 == (version == 6)]
    rules = (
        f"{word} daddr != @local{version} {_drop(model)}",
        _ICMP_OPEN[version],
        f"meta l4proto {TSMP} accept",
        *(f"{word} daddr {item.ip} tcp dport {item.port} accept" for item in peerapi),
        *classes.rules,
        _drop(model),
    )
    sets = [NftSet(f"local{version}", f"ipv{version}_addr", open_to), *classes.sets]
    return sets, [NftChain(f"acl{version}", rules), *classes.chains]
