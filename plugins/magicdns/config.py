"""Settings: table `[plugins.magicdns]` of waypost.toml, and the preferences of `waypost set`."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Annotated

from appliance.api import Bounds, Choices, SettingError, check_declared
from appliance.types.errors import DecodeError
from plugins.magicdns.records import clean_name, parse_record
from plugins.magicdns.upstream import parse_upstreams

WAYS = ("auto", "off", "image", "file", "resolved", "network-manager", "resolvconf")
MAX_ENTRIES = 1000
MAX_CACHE = 1_000_000
MAX_STALE_S = 7 * 86400


@dataclass(frozen=True)
class MagicDnsConfig:
    accept: bool = True
    """Take resolvers, split routes and search domains from control; nodes' names are answered all the same."""
    os: Annotated[str, Choices(WAYS)] = "auto"
    """How the host's own programs are told to ask this resolver; "off": they are not."""
    upstreams: tuple[str, ...] = ()
    """Resolvers for all other names; without any: control's, else those that the host had."""
    routes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Suffix to the resolvers for names below it; before control's."""
    records: tuple[str, ...] = ()
    """Names answered here: "nas.home A 192.168.1.9"."""
    search: tuple[str, ...] = ()
    """Further search domains."""
    serve_lan: bool = False
    """Answer the hosts of the site at this gateway's own addresses."""
    lan_addresses: tuple[str, ...] = ()
    """At these addresses only; none: at all of the host's."""
    lan_clients: tuple[str, ...] = ()
    """Further prefixes that may ask; the attached ones always may."""
    port: Annotated[int, Bounds(1, 65535)] = 53
    """For the hosts of the site."""
    short_names: bool = True
    """A name of one label is looked for in the search domains."""
    rebind_protection: bool = True
    """Hosts of the site are not given private addresses for public names."""
    rebind_allow: tuple[str, ...] = ()
    """Suffixes whose names may have private addresses."""
    cache_entries: Annotated[int, Bounds(0, MAX_CACHE)] = 10_000
    """Answers that are remembered, at most."""
    serve_stale_s: Annotated[int, Bounds(0, MAX_STALE_S)] = 86_400
    """How long an answer that ran out may be given while no resolver answers; 0: never."""
    ca_file: str = ""
    """Certificates of private authorities for tls:// and https:// resolvers, besides the system's."""

    def __post_init__(self) -> None:
        check_declared(self)
        self._check_sizes()
        parse_upstreams(self.upstreams, "upstreams")
        for suffix, resolvers in self.routes.items():
            if suffix not in ("", "."):
                _check_name(suffix, f"routes.{suffix}")
            parse_upstreams(resolvers, f"routes.{suffix}")
        for index, text in enumerate(self.records):
            parse_record(text, f"records[{index}]")
        for key in ("search", "rebind_allow"):
            for index, text in enumerate(getattr(self, key)):
                _check_name(text, f"{key}[{index}]")
        self._check_addresses()
        if self.ca_file and not self.ca_file.startswith("/"):
            raise SettingError("ca_file", "must be an absolute path", mend="write it like /etc/waypost/ca.pem")

    def _check_sizes(self) -> None:
        for key in ("upstreams", "routes", "records", "search", "lan_addresses", "lan_clients", "rebind_allow"):
            if len(getattr(self, key)) > MAX_ENTRIES:
                raise SettingError(key, f"has more than {MAX_ENTRIES} entries", mend="shorten it")

    def _check_addresses(self) -> None:
        for index, text in enumerate(self.lan_addresses):
            try:
                ip_address(text)
            except ValueError:
                mend = "write an address of this host, such as 192.168.10.1"
                raise SettingError(f"lan_addresses[{index}]", f"{text[:64]!r} is not an address", mend=mend) from None
        for index, text in enumerate(self.lan_clients):
            try:
                ip_network(text)
            except ValueError:
                mend = "write it like 192.168.20.0/24, its host bits zero"
                raise SettingError(f"lan_clients[{index}]", f"{text[:64]!r} is not a prefix", mend=mend) from None


def _check_name(text: str, key: str) -> None:
    try:
        clean_name(text)
    except (ValueError, DecodeError):
        raise SettingError(key, f"{text[:64]!r} is not a domain name", mend="write it like corp.example") from None
