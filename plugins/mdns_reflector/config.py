"""Settings: table `[plugins.mdns_reflector]` of waypost.toml, and the preferences of `waypost set`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from appliance.api import SettingError
from plugins.mdns_reflector.errors import ReflectorSettingError

PORT = 5454
MAX_INTERFACES = 16
MAX_SITES = 16
MAX_SERVICES = 64
_SERVICE = re.compile(r"_[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?\._(tcp|udp)")
_INTERFACE = re.compile(r"[^\s/]{1,15}")
_SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:-]{0,252}")
_FORMS = {
    "services": (_SERVICE, MAX_SERVICES, "service type", "write it like _ipp._tcp"),
    "interfaces": (_INTERFACE, MAX_INTERFACES, "interface", "write the name of a LAN's interface, such as lan0"),
    "sites": (_SITE, MAX_SITES, "gateway", "write the name of the other site's gateway, such as gateway-b"),
}


@dataclass(frozen=True)
class MdnsReflectorConfig:
    """Without an interface, a site and a service type nothing is reflected."""

    interfaces: tuple[str, ...] = ()
    """The LANs whose hosts take part."""
    sites: tuple[str, ...] = ()
    """Gateways of other sites, by name or address; each must name this one, too."""
    services: tuple[str, ...] = ()
    """Service types that go through, in both directions: "_ipp._tcp"."""
    port: int = PORT
    """UDP port inside the tunnel, the same on all gateways."""

    def __post_init__(self) -> None:
        for key, (form, most, what, mend) in _FORMS.items():
            entries: tuple[str, ...] = getattr(self, key)
            if len(entries) > most:
                raise SettingError(key, f"has more than {most} entries", mend="name only what is needed")
            for index, text in enumerate(entries):
                if not form.fullmatch(text):
                    raise ReflectorSettingError(key, index, f"{text[:64]!r} is no {what}", mend=mend)
        if not 1024 <= self.port <= 65535 or self.port == 5353:
            mend = f"use a port from 1024 on, other than 5353; {PORT} is usual"
            raise SettingError("port", f"is {self.port}", mend=mend)
