"""Pure: what is answered here and not asked elsewhere (node-os spec 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from appliance.api import DnsSettings, NetmapChange, NodeInfo
from appliance.proto.dns import Answer, encode_name, from_reverse, is_below, parent
from appliance.proto.dns.numbers import (
    AAAA,
    ANY,
    AXFR,
    CNAME,
    HINFO,
    NOERROR,
    NOTIMP,
    NS,
    NXDOMAIN,
    PTR,
    SOA,
    A,
)
from appliance.types.addresses import SERVICE_V4, SERVICE_V6, Address
from appliance.types.errors import DecodeError
from appliance.types.via import via_address, via_label
from plugins.magicdns.records import LocalRecord, by_name, make_record
from plugins.magicdns.translated import TranslatedNames

TTL_S = 5
SOA_TTL_S = 10
SERVICE_NAME = "magicdns.localhost-tailscale-daemon"
"""What the service addresses are called by every node of such a mesh."""
SUBDOMAINS = "dns-subdomain-resolve"
"""Attribute of nodes that stand for all names below their own."""
AAAA_TOO = "magicdns-aaaa"
_VIA_ZONES = ("ts.net", "tailscale.net")
_SERVICE_DISCOVERY = tuple(f"{label}._dns-sd._udp." for label in ("b", "db", "r", "dr", "lb"))
_UNKNOWN_TYPES = frozenset({NS, SOA, AXFR, HINFO})
_FOUR_TO_SIX = IPv6Network("fd7a:115c:a1e0:ab12:4843:cd96:6200::/104")
_LOOPBACK = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """`zone` holds the name (for the SOA record of negative answers); `target` is a CNAME's, to be followed."""

    rcode: int
    answers: tuple[Answer, ...] = ()
    zone: str | None = None
    target: str = ""

    def authority(self, wall_s: int) -> tuple[Answer, ...]:
        """Of a negative answer; `wall_s`: Unix time."""
        if self.zone is None or self.answers or self.rcode not in (NOERROR, NXDOMAIN):
            return ()
        name = encode_name(self.zone)
        numbers = (wall_s & 0xFFFFFFFF, *[SOA_TTL_S] * 4)
        data = name + name + b"".join(number.to_bytes(4, "big") for number in numbers)
        return (Answer(SOA, data, SOA_TTL_S, self.zone),)


@dataclass(slots=True)
class _Node:
    """`texts` are its addresses, parsed when somebody asks: a mesh has thousands of nodes, a question is about one."""

    name: str
    texts: tuple[str, ...]
    subdomains: bool

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(map(ip_address, self.texts))


class LocalNames:
    """Belongs to one event loop. A change of the netmap costs as much as the change."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._by_name: dict[str, _Node] = {}
        self._by_address: dict[str, str] = {}
        self.translated = TranslatedNames()
        self._own: _Node | None = None
        self._own_id = ""
        self._v6_answers = False
        self._zones: tuple[str, ...] = ()
        self._settings: Mapping[str, tuple[LocalRecord, ...]] = {}
        self._control: Mapping[str, tuple[LocalRecord, ...]] = {}
        self._search: tuple[str, ...] = ()
        self._short = True
        self.rejected: tuple[str, ...] = ()
        """Names of control's records that are none."""

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def search(self) -> tuple[str, ...]:
        return self._search

    @property
    def zones(self) -> tuple[str, ...]:
        """Suffixes that are answered here alone."""
        return self._zones

    # --- what it is made of

    def set_records(self, records: Iterable[LocalRecord], *, short_names: bool) -> None:
        self._settings = by_name(records)
        self._short = short_names

    def set_control(self, dns: DnsSettings, search: Sequence[str]) -> None:
        records: list[LocalRecord] = []
        rejected: list[str] = []
        for name, rtype, value in dns.records:
            try:
                if rtype.upper() in ("", "A", "AAAA"):
                    records.append(make_record(name, rtype, value))
            except (ValueError, DecodeError):
                rejected.append(name)
        self._control = by_name(records)
        self.rejected = tuple(rejected)
        self._zones = tuple(sorted(suffix.lower() for suffix, found in dns.routes.items() if not found))
        self._search = tuple(dict.fromkeys(name.lower() for name in search))

    def change(self, change: NetmapChange) -> None:
        if change.full:
            self._nodes.clear()
            self._by_name.clear()
            self._by_address.clear()
            self.translated = TranslatedNames()
            self._own = None
        for stable_id in change.removed:
            self._forget(stable_id)
        for node in change.changed:
            self._put(node)
        if change.self_node is not None:
            self._own_id = change.self_node.stable_id
            self._own = self._put(change.self_node, is_own=True)
            only_v6 = not any(address.version == 4 for address in self._own.addresses)
            self._v6_answers = only_v6 or AAAA_TOO in change.self_node.capabilities

    def _put(self, info: NodeInfo, *, is_own: bool = False) -> _Node:
        self._forget(info.stable_id)
        node = _Node(info.name.lower(), info.addresses, SUBDOMAINS in info.capabilities)
        self._nodes[info.stable_id] = self._by_name[node.name] = node
        self.translated.put(info, is_own=is_own)
        for text in info.addresses:
            self._by_address[text] = node.name
        return node

    def _forget(self, stable_id: str) -> None:
        node = self._nodes.pop(stable_id, None)
        if node is None:
            return
        self.translated.forget(stable_id)
        if self._by_name.get(node.name) is node:
            del self._by_name[node.name]
        for text in node.texts:
            if self._by_address.get(text) == node.name:
                del self._by_address[text]

    # --- questions

    def lookup(self, name: str, qtype: int) -> LocalAnswer | None:
        """None: the name is not of here, ask elsewhere. `name` is lower case without a dot at its end."""
        if qtype == PTR and (found := self._pointer(name)) is not None:
            return found
        if qtype != PTR and is_below(name, "onion"):
            return LocalAnswer(NXDOMAIN)
        if is_below(name, "localhost"):
            return self._typed(_LOOPBACK, qtype, both=True, zone="localhost")
        if is_below(name, "invalid"):
            return LocalAnswer(NXDOMAIN, zone="invalid")
        found = self._named(name, qtype)
        if found is not None:
            return found
        if self._short and name and "." not in name:
            for suffix in self._search:
                if (longer := self._named(f"{name}.{suffix}", qtype)) is not None:
                    return longer
        zone = self._zone(name)
        return LocalAnswer(NXDOMAIN, zone=zone) if zone is not None else None

    def _named(self, name: str, qtype: int) -> LocalAnswer | None:
        if name == SERVICE_NAME:
            return self._typed((SERVICE_V4, SERVICE_V6), qtype, both=True)
        if (via := self._via(name, qtype)) is not None:
            return via
        records = self._settings.get(name) or self._control.get(name)
        if records:
            return self._records(records, qtype, self._zone(name))
        node = self._by_name.get(name)
        if node is None and (host := self.translated.address(name)) is not None:
            return self._typed((host,), qtype, both=True, zone=self._zone(name))
        node = node or self._above(name)
        if node is None:
            return None
        return self._typed(node.addresses, qtype, both=self._v6_answers, zone=self._zone(name))

    def _above(self, name: str) -> _Node | None:
        """The nearest node above the name that stands for all names below its own."""
        if not any(is_below(name, zone) for zone in self._zones):
            return None
        above = parent(name)
        while above:
            node = self._by_name.get(above)
            if node is not None:
                return node if node.subdomains else None
            above = parent(above)
        return None

    def _typed(self, addresses: Sequence[Address], qtype: int, *, both: bool, zone: str | None = None) -> LocalAnswer:
        """`both`: IPv6 addresses are told although there is an IPv4 one."""
        if qtype in _UNKNOWN_TYPES:
            return LocalAnswer(NOTIMP)
        v4 = next((each for each in addresses if each.version == 4), None)
        v6 = next((each for each in addresses if each.version == 6), None)
        chosen = v4 if qtype == A else v6 if qtype == AAAA and (both or v4 is None) else None
        if qtype == ANY:
            chosen = v4 or v6
        if chosen is None:
            return LocalAnswer(NOERROR, zone=zone if qtype in (A, AAAA, ANY) else None)
        return LocalAnswer(NOERROR, (_address_answer(chosen),), zone)

    def _records(self, records: Sequence[LocalRecord], qtype: int, zone: str | None) -> LocalAnswer:
        if qtype in _UNKNOWN_TYPES:
            return LocalAnswer(NOTIMP)
        alias = next((record for record in records if record.rtype == CNAME), None)
        if alias is not None:
            target = "" if qtype in (CNAME, ANY) else alias.target
            return LocalAnswer(NOERROR, (Answer(CNAME, alias.data, TTL_S),), zone, target)
        fitting = [record for record in records if qtype in (record.rtype, ANY)]
        return LocalAnswer(NOERROR, tuple(Answer(each.rtype, each.data, TTL_S) for each in fitting), zone)

    def _via(self, name: str, qtype: int) -> LocalAnswer | None:
        label, _, rest = name.partition(".")
        if qtype not in (A, AAAA, ANY):
            return None
        zones = (*_VIA_ZONES, *self._search)
        if rest and rest not in self._search and not any(is_below(rest, zone) and rest != zone for zone in zones):
            return None
        address = via_address(label)
        if address is None:
            return None
        answers = (_address_answer(address),) if qtype != A else ()
        return LocalAnswer(NOERROR, answers, self._zone(name))

    def _pointer(self, name: str) -> LocalAnswer | None:
        if name.startswith(_SERVICE_DISCOVERY):
            return LocalAnswer(NXDOMAIN, zone=self._zone(name))
        address = from_reverse(name)
        if address is None:
            return None
        records = self._settings.get(name) or self._control.get(name)
        known = self.name_of(address) or ("" if records else self.translated.name_of(address))
        if known:
            return LocalAnswer(NOERROR, (Answer(PTR, encode_name(known), TTL_S),))
        return self._records(records, PTR, None) if records else None

    def name_of(self, address: Address) -> str:
        """Of a node, of a service address, or of a 4via6 address; "" when nobody has it."""
        if address in (SERVICE_V4, SERVICE_V6):
            return SERVICE_NAME
        if isinstance(address, IPv6Address) and address in _FOUR_TO_SIX:
            address = IPv4Address(100 << 24 | int(address) & 0xFFFFFF)
        found = self._by_address.get(str(address), "")
        if not found and isinstance(address, IPv6Address) and self._search and (label := via_label(address)):
            return f"{label}.{self._search[0]}"
        return found

    def _zone(self, name: str) -> str | None:
        fitting = [zone for zone in self._zones if is_below(name, zone)]
        return max(fitting, key=len) if fitting else None


def _address_answer(address: Address) -> Answer:
    return Answer(A if address.version == 4 else AAAA, address.packed, TTL_S)
