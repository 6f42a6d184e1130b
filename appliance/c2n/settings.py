"""Settings from control: always on trial, so that a change that cuts this node off from control goes back by itself.

Our own paths beside those of control-protocol spec 17: `PATCH /waypost/settings` and `POST /waypost/settings/confirm`.
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import msgspec
from msgspec import UNSET, Meta, UnsetType

from appliance.c2n.routes import JSON
from appliance.c2n.table import TEXT, C2nTable
from appliance.netmap.pings import C2nReply
from appliance.proto.control.trial import CONFIRM_PATH, LEAST_CONFIRM_S, MOST_CONFIRM_S, SETTINGS_PATH
from appliance.proto.http1.head import RequestHead
from appliance.types.errors import ApplianceError

MAX_BYTES = 64 * 1024

Name = Annotated[str, Meta(max_length=64)]
Tables = Annotated[dict[Name, Annotated[dict[Name, Any], Meta(max_length=64)]], Meta(max_length=32)]


class RemoteSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What control may change; who operates this machine, its tags and its CA are its owner's. Seconds."""

    hostname: Annotated[str, Meta(max_length=253)] | UnsetType = UNSET
    shields_up: bool | UnsetType = UNSET
    plugins: Tables | UnsetType = UNSET
    confirm_within_s: Annotated[float, Meta(ge=LEAST_CONFIRM_S, le=MOST_CONFIRM_S)] = 60.0


class SettingsDoor(Protocol):
    """The owner of the settings. Both raise `ApplianceError`; the values are the settings after it, without secrets."""

    async def change(self, settings: RemoteSettings) -> dict[str, Any]: ...

    async def confirm(self) -> dict[str, Any]: ...


def add_settings(table: C2nTable, door: SettingsDoor) -> None:
    """Let control change settings through `door`."""

    async def change(_head: RequestHead, body: bytes) -> C2nReply:
        if len(body) > MAX_BYTES:
            return 413, TEXT, b"the settings are too large\n"
        try:
            settings = msgspec.json.decode(body, type=RemoteSettings)
        except (msgspec.MsgspecError, RecursionError) as error:
            return 400, TEXT, f"wrong settings: {error}\n".encode()
        try:
            return 200, JSON, msgspec.json.encode(await door.change(settings))
        except ApplianceError as error:
            return _refused(error)

    async def confirm(_head: RequestHead, _body: bytes) -> C2nReply:
        try:
            return 200, JSON, msgspec.json.encode(await door.confirm())
        except ApplianceError as error:
            return _refused(error)

    table.add("PATCH", SETTINGS_PATH, change)
    table.add("POST", CONFIRM_PATH, confirm)


def _refused(error: ApplianceError) -> C2nReply:
    return 409, TEXT, f"{error.line()}\n".encode()
