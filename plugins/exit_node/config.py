"""Settings: table `[plugins.exit_node]` of waypost.toml, and what `waypost exit` sets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from appliance.types.addresses import in_overlay
from appliance.types.location import Location
from appliance.types.senders import INTERFACE, parse_senders
from plugins.exit_node.errors import ExitSettingError
from plugins.exit_node.proxies import is_proxy, parse_proxy

AUTO = "auto"
MAX_REGIONS = 64
MAX_ENTRIES = 256
MAX_PLACE = 100
MAX_PRIORITY = 65535
_WANTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,252}")
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True)
class ExitNodeConfig:
    """`use` is kept without surrounding space and final dot."""

    advertise: bool = False
    """Offer this gateway as an exit."""
    use: str = ""
    """The exit to use: a peer's name, address or stable id; "auto": the best one, another when it goes; "": none."""
    regions: tuple[str, ...] = ()
    """With "auto": take exits of these regions only, by the code of their home relay, country or city."""
    lan_access: bool = False
    """While an exit is in use this gateway itself may begin connections to its attached networks."""
    site: bool = False
    """Hosts behind this gateway use the exit too."""
    hosts: tuple[str, ...] = ()
    """With `site`: only these do; each an address, a prefix, a hardware address or an interface. Empty: all."""
    not_hosts: tuple[str, ...] = ()
    """With `site`: these do not, in the same words."""
    direct: tuple[str, ...] = ()
    """Destinations that are reached past the exit, by this gateway and by all hosts behind it."""
    gateway_direct: bool = False
    """With `site`: the exit is for hosts behind this gateway; what the gateway itself sends leaves directly."""
    uplink: str = ""
    """With `advertise`: what those who use this exit go on by: a link of the host such as "wg0", or a proxy
    such as "socks5://192.0.2.9:1080" or "http://proxy.example:3128"; "": the host's own routes."""
    uplink_credentials: str = ""
    """A file with one line `user:password` for such a proxy."""
    uplink_resolvers: tuple[str, ...] = ()
    """With `uplink`: addresses beyond it that look names up for them, by TCP; none: nobody does."""

    location: Location = field(default_factory=Location)
    """Where this gateway is: shown to those who may use its exit, and the point that distances are measured from."""

    def __post_init__(self) -> None:
        use = self.use.strip().rstrip(".")
        if use and not _WANTED.fullmatch(use):
            mend = "give a name, an address or a stable id as waypost exit list shows them, or auto"
            raise ExitSettingError("use", f"{self.use[:64]!r} names no peer", mend=mend)
        object.__setattr__(self, "use", use)
        if use and self.advertise:
            mend = "set advertise = false, or use no exit here: waypost exit off"
            raise ExitSettingError("use", "this gateway offers itself as an exit, so it cannot use one", mend=mend)
        if self.site and not use:
            mend = "name the exit: waypost exit use NAME --site"
            raise ExitSettingError("site", "hosts behind this gateway cannot use an exit that is not set", mend=mend)
        if self.gateway_direct and not self.site:
            mend = "let hosts use the exit: waypost exit use NAME --site --gateway-direct"
            raise ExitSettingError("gateway_direct", "leaves nobody who would use the exit", mend=mend)
        _check_regions(self.regions)
        _check_hosts(self)
        _check_location(self.location)
        _check_uplink(self)
        _check_number("direct", self.direct)
        object.__setattr__(self, "direct", tuple(_destination(*item) for item in enumerate(self.direct)))


def _check_regions(regions: tuple[str, ...]) -> None:
    if len(regions) > MAX_REGIONS:
        raise ExitSettingError("regions", f"has more than {MAX_REGIONS} entries", mend="name fewer regions")
    for index, region in enumerate(regions):
        if not _REGION.fullmatch(region):
            mend = "write a code as waypost netcheck shows it"
            raise ExitSettingError(f"regions[{index}]", f"{region[:64]!r} is no region", mend=mend)


def _check_hosts(config: ExitNodeConfig) -> None:
    for key, texts in (("hosts", config.hosts), ("not_hosts", config.not_hosts)):
        if texts and not config.site:
            mend = "let hosts use the exit: waypost exit use NAME --site"
            raise ExitSettingError(key, "names hosts behind this gateway, which do not use the exit", mend=mend)
        _check_number(key, texts)
        for index, text in enumerate(texts):
            try:
                parse_senders([text])
            except ValueError as error:
                mend = "write 192.168.1.7, 192.168.1.0/26, 2001:db8::/64, 02:00:5e:00:53:01 or eth1"
                raise ExitSettingError(f"{key}[{index}]", str(error), mend=mend) from None


def _check_location(location: Location) -> None:
    for key in ("country_code", "city_code"):
        text = getattr(location, key)
        if text and not _REGION.fullmatch(text):
            raise ExitSettingError(f"location.{key}", f"{text[:64]!r} is no code", mend="write it as DE or BER")
    if max(len(location.country), len(location.city)) > MAX_PLACE:
        raise ExitSettingError("location", "has a name that is too long", mend=f"use at most {MAX_PLACE} characters")
    if not (-90 <= location.latitude <= 90 and -180 <= location.longitude <= 180):
        mend = "give degrees: latitude = 52.52, longitude = 13.40"
        raise ExitSettingError("location", "is not on the globe", mend=mend)
    if not 0 <= location.priority <= MAX_PRIORITY:
        raise ExitSettingError("location.priority", "is out of range", mend=f"give 0 to {MAX_PRIORITY}")


def _check_uplink(config: ExitNodeConfig) -> None:
    if is_proxy(config.uplink):
        _check_proxy(config.uplink)
    elif config.uplink and (config.uplink == "lo" or not INTERFACE.fullmatch(config.uplink)):
        mend = "name a link of this host, as ip link shows it: wg0"
        raise ExitSettingError("uplink", f"{config.uplink[:64]!r} is no link to go on by", mend=mend)
    if config.uplink_credentials and not (is_proxy(config.uplink) and config.uplink_credentials.startswith("/")):
        mend = "with a proxy as uplink, name a file from / on"
        raise ExitSettingError("uplink_credentials", "is no file for a proxy's credentials", mend=mend)
    if config.uplink_resolvers and not config.uplink:
        mend = "name the link: waypost exit offer --uplink wg0"
        raise ExitSettingError("uplink_resolvers", "are asked beyond an uplink, and none is set", mend=mend)
    _check_number("uplink_resolvers", config.uplink_resolvers)
    for index, text in enumerate(config.uplink_resolvers):
        try:
            ip_address(text)
        except ValueError:
            key = f"uplink_resolvers[{index}]"
            raise ExitSettingError(key, f"{text[:64]!r} is no IP address", mend="write it as 10.64.0.1") from None


def _check_proxy(text: str) -> None:
    try:
        parse_proxy(text)
    except ValueError as error:
        mend = "write socks5://192.0.2.9:1080 or http://proxy.example:3128; credentials go into uplink_credentials"
        raise ExitSettingError("uplink", str(error), mend=mend) from None


def _destination(index: int, text: str) -> str:
    """In its normal form."""
    key = f"direct[{index}]"
    try:
        prefix = ip_network(text.strip())
    except ValueError:
        mend = "write an address or a prefix, as 198.51.100.0/24"
        raise ExitSettingError(key, f"{text[:64]!r} is no prefix", mend=mend) from None
    if not prefix.prefixlen:
        raise ExitSettingError(key, "would take everything past the exit", mend="use none instead: waypost exit off")
    if in_overlay(prefix):
        raise ExitSettingError(key, f"{prefix} belongs to the mesh", mend="except places on the Internet only")
    return str(prefix)


def _check_number(key: str, texts: tuple[str, ...]) -> None:
    if len(texts) > MAX_ENTRIES:
        raise ExitSettingError(key, f"has more than {MAX_ENTRIES} entries", mend="name prefixes that hold them")
