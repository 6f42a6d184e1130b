"""Messages between `waypostd` and a plugin's process: MessagePack, one tagged structure each.

Values of hooks and handle methods are `Raw`: `appliance.pluginhost.apps.border` knows their types.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from appliance.api.values import SettingField

PROTOCOL = 2


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """First message to the process: which plugin it runs. Targets are "module:Name"; `path` is added to sys.path."""

    protocol: int
    name: str
    target: str
    config: str
    hooks: tuple[str, ...]


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """Parse the table; unless `check_only` also call the hook. Answered by `Result`, its value `Told`."""

    call: int
    table: dict[str, Any]
    check_only: bool = False


class CallHook(msgspec.Struct, frozen=True, tag="hook"):
    """Answered by `Result`."""

    call: int
    hook: str
    arguments: dict[str, Raw] = {}


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Answered by `Result` without a value."""

    call: int


class End(msgspec.Struct, frozen=True, tag="end"):
    """Stop services, call `appliance_stop`, exit."""


class Result(msgspec.Struct, frozen=True, tag="result"):
    """Answer to a call, in both directions. `text` non-empty: it failed; `key` is the wrong setting's path."""

    call: int
    value: Raw = Raw(msgspec.msgpack.encode(None))
    code: str = ""
    text: str = ""
    mend: str = ""
    key: str = ""


class Told(msgspec.Struct, frozen=True):
    """A plugin's settings: all of them with their defaults, and as inputs of a form."""

    settings: dict[str, Any] = {}
    fields: tuple[SettingField, ...] = ()


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The plugin is imported and fits, or `text` says why not."""

    text: str = ""
    mend: str = ""


class HostCall(msgspec.Struct, frozen=True, tag="call"):
    """A method of the plugin's handle. Answered by `Result`."""

    call: int
    method: str
    arguments: tuple[Raw, ...] = ()


class Fault(msgspec.Struct, frozen=True, tag="fault"):
    """A service of the plugin failed; `text` "" means that it is mended."""

    where: str
    text: str = ""


class Services(msgspec.Struct, frozen=True, tag="services"):
    """Names of the services that run."""

    names: tuple[str, ...]


ToPlugin = Begin | Configure | CallHook | Ping | End | Result
ToHost = Loaded | Result | HostCall | Fault | Services

encode = msgspec.msgpack.Encoder().encode
decode_to_plugin = msgspec.msgpack.Decoder(ToPlugin).decode
decode_to_host = msgspec.msgpack.Decoder(ToHost).decode
