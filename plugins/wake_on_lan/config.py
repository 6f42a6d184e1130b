"""Settings: table `[plugins.wake_on_lan]` of waypost.toml, and the preferences of `waypost set`."""

from __future__ import annotations

from dataclasses import dataclass, field

from plugins.wake_on_lan.errors import HostSettingError
from plugins.wake_on_lan.rules import Target, is_name, parse_target

MAX_HOSTS = 200


@dataclass(frozen=True)
class WakeOnLanConfig:
    hosts: dict[str, str] = field(default_factory=dict)
    """Name to hardware address; " on lan0" behind it names the network, " via gateway-b" another site's gateway."""

    learn: bool = True
    """Remember hosts of the attached networks by their IPv4 address, so that they can be woken by it."""

    def __post_init__(self) -> None:
        if len(self.hosts) > MAX_HOSTS:
            raise HostSettingError("", f"there are more than {MAX_HOSTS}", mend="wake the others by hardware address")
        for name, text in self.hosts.items():
            if not is_name(name):
                mend = "write a name like nas: letters a to z, digits, hyphens"
                raise HostSettingError(name, "is no name of a host", mend=mend)
            try:
                parse_target(text, name)
            except ValueError as error:
                mend = 'write it like "00:1a:2b:3c:4d:5e", with " on lan0" or " via gateway-b" behind it where needed'
                raise HostSettingError(name, str(error), mend=mend) from None

    def targets(self) -> dict[str, Target]:
        return {name: parse_target(text, name) for name, text in self.hosts.items()}
