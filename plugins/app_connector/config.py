"""Settings: table `[plugins.app_connector]` of waypost.toml, and the preferences of `waypost set`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from appliance.api import Bounds, SettingError, check_declared
from plugins.app_connector.apps import MAX_APPS, MAX_DOMAINS, App, make_app
from plugins.app_connector.errors import AppSettingError

MAX_PER_APP = 10_000
MAX_DAYS = 365


@dataclass(frozen=True)
class AppConnectorConfig:
    advertise: bool = False
    """Be a connector: learn and offer the routes of apps."""
    domains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Apps of this gateway's own: name to domains, of which "*.example.com" means all names below."""
    routes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Presets of own apps: name to prefixes that are offered as they are."""
    max_addresses: Annotated[int, Bounds(1, MAX_PER_APP)] = 1000
    """For each app; the address that was not seen longest goes."""
    keep_hours: Annotated[int, Bounds(1, MAX_DAYS * 24)] = 24
    """How long an address is kept after it was last seen, at least."""
    ipv4_only: bool = False
    """Learn no IPv6 addresses."""

    def __post_init__(self) -> None:
        if len({*self.domains, *self.routes}) > MAX_APPS:
            raise SettingError("domains", f"has more than {MAX_APPS} apps", mend="join some")
        check_declared(self)
        for name, texts in self.domains.items():
            if len(texts) > MAX_DOMAINS:
                raise SettingError(f"domains.{name}", f"has more than {MAX_DOMAINS} entries", mend="use a wildcard")
            for index, text in enumerate(texts):
                _check(name, (text,), (), f"domains.{name}[{index}]", "write shop.example or *.shop.example")
        for name, texts in self.routes.items():
            for index, text in enumerate(texts):
                mend = "write a prefix of the Internet, such as 198.51.100.0/24, its host bits zero"
                _check(name, (), (text,), f"routes.{name}[{index}]", mend)

    def apps(self) -> tuple[App, ...]:
        names = dict.fromkeys((*self.domains, *self.routes))
        return tuple(make_app(name, self.domains.get(name, ()), self.routes.get(name, ())) for name in names)


def _check(name: str, domains: tuple[str, ...], routes: tuple[str, ...], key: str, mend: str) -> None:
    try:
        make_app(name, domains, routes)
    except ValueError:
        text = (*domains, *routes)[0]
        raise AppSettingError(key, f"{text[:64]!r} cannot be used", mend=mend) from None
