"""Settings: table `[plugins.subnet_router]` of waypost.toml, and the preferences of `waypost set`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from appliance.api import PrefixTranslation, SettingError
from appliance.types.addresses import in_overlay
from plugins.subnet_router.errors import RouteSettingError
from plugins.subnet_router.one_to_one import MAX_TRANSLATIONS, parse_translations, translation_text
from plugins.subnet_router.rules import normalise_routes
from plugins.subnet_router.shaping import MAX_LIMITS, Limit, parse_limits
from plugins.subnet_router.via import pool_problem

MAX_ROUTES = 1000
MAX_PROBES = 32
ALL, EVERYTHING = "all", ("0.0.0.0/0", "::/0")


@dataclass(frozen=True)
class SubnetRouterConfig:
    """`advertise_routes` are kept masked, sorted and without repetition, as they go to control."""

    advertise_routes: tuple[str, ...] = ()
    """Prefixes that this gateway offers to the mesh."""
    auto: bool = False
    """Offer the attached private networks as well, as they come and go."""
    auto_except: tuple[str, ...] = ()
    """Never offered by `auto`: these prefixes and all inside them, or interfaces by name."""
    probes: tuple[str, ...] = ()
    """Hosts of the LANs; a LAN whose probes are all silent is not offered until they answer."""
    shared_address: str = ""
    """An IPv4 address of a LAN, the same on both routers of a pair: the one in charge holds it."""
    shared_address_v6: str = ""
    """The same by IPv6; a link-local one is held on every LAN with IPv6 that goes through here."""
    accept_routes: bool = False
    """Install the prefixes that peers offer."""
    accept_only: tuple[str, ...] = ()
    """Of those, only these and what lies inside them; empty: all."""
    refuse_routes: tuple[str, ...] = ()
    """Of those, never these and none inside them."""
    own_first: tuple[str, ...] = ()
    """Of the accepted ones, these and what lies inside them count only where this host has no route of its own of that
    length; "all"."""
    mesh_first: tuple[str, ...] = ()
    """Of those, these and what lies inside them go before the host's own routes all the same."""
    translate: tuple[str, ...] = ()
    """Networks of the site that the mesh knows by others: "192.168.1.0/24 as 10.7.1.0/24"; those are offered."""
    translation_pool: str = "198.18.0.0/18"
    """IPv4 addresses that stand for the mesh's senders while 4via6 is translated; they never leave this gateway."""
    limits: tuple[str, ...] = ()
    """Rates of what this gateway sends to a peer or a network: "gateway-b 20mbit", "10.8.1.0/24 500kbit"."""
    snat: bool = True
    """Let mesh traffic enter the own networks with the gateway's own address; off for site-to-site."""

    def __post_init__(self) -> None:
        if len(self.advertise_routes) > MAX_ROUTES:
            raise SettingError("advertise_routes", f"has more than {MAX_ROUTES} entries", mend="join prefixes")
        object.__setattr__(self, "advertise_routes", normalise_routes(self.advertise_routes))
        for key in ("auto_except", "accept_only", "refuse_routes", "own_first", "mesh_first"):
            entries = getattr(self, key)
            if len(entries) > MAX_ROUTES:
                raise SettingError(key, f"has more than {MAX_ROUTES} entries", mend="join prefixes")
            object.__setattr__(self, key, tuple(_entries(key, entries)))
        if twice := sorted({*self.own_first}.intersection(self.mesh_first)):
            raise SettingError("mesh_first", f"{twice[0]} is in own_first too", mend="leave it in one of them")
        if len(self.probes) > MAX_PROBES:
            raise SettingError(
                "probes", f"has more than {MAX_PROBES} entries", mend="one or two hosts a LAN are enough"
            )
        if self.shared_address:
            object.__setattr__(self, "shared_address", _shared(self.shared_address))
        if self.shared_address_v6:
            object.__setattr__(self, "shared_address_v6", _shared_v6(self.shared_address_v6))
        if len(self.limits) > MAX_LIMITS:
            raise SettingError("limits", f"has more than {MAX_LIMITS} entries", mend="limit larger networks")
        object.__setattr__(self, "limits", tuple(str(each) for each in parse_limits(self.limits)))
        if len(self.translate) > MAX_TRANSLATIONS:
            raise SettingError("translate", f"has more than {MAX_TRANSLATIONS} entries", mend="join networks")
        object.__setattr__(self, "translate", tuple(translation_text(each) for each in self.translations))
        object.__setattr__(self, "translation_pool", self._pool())
        object.__setattr__(self, "probes", tuple(_probe(index, text) for index, text in enumerate(self.probes)))

    @cached_property
    def translations(self) -> tuple[PrefixTranslation, ...]:
        return parse_translations(self.translate)

    @property
    def shared(self) -> tuple[str, ...]:
        """The shared addresses of either IP version."""
        return tuple(each for each in (self.shared_address, self.shared_address_v6) if each)

    @cached_property
    def parsed_limits(self) -> tuple[Limit, ...]:
        return parse_limits(self.limits)

    def _pool(self) -> str:
        routes = (*self.advertise_routes, *(text for each in self.translations for text in (each.inside, each.outside)))
        try:
            pool = ip_network(self.translation_pool.strip(), strict=False)
            problem = pool_problem(pool, routes)
        except ValueError:
            problem = "is no prefix"
        if problem:
            mend = "give an IPv4 network that nobody uses, such as 198.18.0.0/18"
            raise SettingError("translation_pool", f"{self.translation_pool[:64]!r} {problem}", mend=mend)
        return str(pool)


def _entries(key: str, texts: Sequence[str]) -> Iterator[str]:
    for index, text in enumerate(texts):
        if key == "own_first" and text.strip().lower() == ALL:
            yield from EVERYTHING
        else:
            yield _entry(key, index, text, named=key == "auto_except")


def _entry(key: str, index: int, text: str, *, named: bool) -> str:
    """A prefix in normal form; where `named` allows it, the name of an interface."""
    text = text.strip()
    if named and text and "/" not in text and ":" not in text and not text[0].isdigit() and len(text) < 16:
        return text
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        mend = "write a prefix like 192.168.10.0/24" + (", or the name of an interface" if named else "")
        raise RouteSettingError(index, f"{text[:64]!r} is not a prefix", key=key, mend=mend) from None


def _probe(index: int, text: str) -> str:
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        mend = "write the address of a host of the LAN that is always on, such as its switch"
        raise RouteSettingError(index, f"{text[:64]!r} is no address", key="probes", mend=mend) from None


def _shared(text: str) -> str:
    try:
        return str(IPv4Address(text.strip()))
    except ValueError:
        mend = "write an IPv4 address of the LAN that no host has, such as 192.168.10.254"
        raise SettingError("shared_address", f"{text[:64]!r} is no IPv4 address", mend=mend) from None


def _shared_v6(text: str) -> str:
    try:
        address = IPv6Address(text.strip())
        problem = _unshareable(address)
    except ValueError:
        problem = "is no IPv6 address"
    if problem:
        mend = "write an IPv6 address of the LAN that no host has, such as fd00:10::fe, or a link-local one, fe80::fe"
        raise SettingError("shared_address_v6", f"{text[:64]!r} {problem}", mend=mend)
    return str(address)


def _unshareable(address: IPv6Address) -> str:
    """Why no host can have it as its way to the mesh, "" = it can."""
    if address.scope_id is not None:
        return "names an interface"
    if address.ipv4_mapped is not None or address.is_multicast or address.is_loopback or address.is_unspecified:
        return "is no address of a host"
    return "is an address of the mesh" if in_overlay(ip_network(address)) else ""
