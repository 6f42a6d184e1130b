"""Settings from control: bounded, on trial, refused in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.c2n.settings import MAX_BYTES, RemoteSettings, add_settings
from appliance.c2n.table import C2nTable
from appliance.netmap.pings import PingResponder
from appliance.ports.streams import MemoryDialer
from appliance.proto.control.trial import CONFIRM_PATH, SETTINGS_PATH
from appliance.types.errors import ConfigError


class Door:
    def __init__(self) -> None:
        self.changes: list[RemoteSettings] = []
        self.confirms = 0

    async def change(self, settings: RemoteSettings) -> dict[str, Any]:
        if settings.hostname == "-bad-":
            raise ConfigError("hostname is wrong", mend="give another")
        self.changes.append(settings)
        return {"shields_up": True}

    async def confirm(self) -> dict[str, Any]:
        self.confirms += 1
        return {"shields_up": True}


@pytest.fixture
def door():
    return Door()


async def ask(door: Door, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    table = C2nTable()
    add_settings(table, door)
    responder = PingResponder(MemoryDialer(), c2n=table.by_path)
    head = f"{method} {path} HTTP/1.1\r\nHost: node\r\nContent-Length: {len(body)}\r\n\r\n"
    start, _, rest = (await responder.handle(head.encode() + body)).partition(b"\r\n\r\n")
    return int(start.split()[1]), rest


async def test_ok__change_and_confirm(door):
    body = json.dumps({"shields_up": True, "plugins": {"subnet_router": {"accept_routes": True}}}).encode()
    status, answer = await ask(door, "PATCH", SETTINGS_PATH, body)
    assert (status, json.loads(answer)) == (200, {"shields_up": True})
    assert door.changes == [RemoteSettings(shields_up=True, plugins={"subnet_router": {"accept_routes": True}})]
    assert door.changes[0].confirm_within_s == 60, "there is no change from afar that is not on trial"
    assert (await ask(door, "POST", CONFIRM_PATH, b""))[0] == 200
    assert door.confirms == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 20_000,
        b'{"operator":"root"}',
        b'{"ca_file":"/x"}',
        b'{"shields_up":1}',
        b'{"confirm_within_s":1}',
        b'{"confirm_within_s":99999}',
        b'{"plugins":{"x":1}}',
    ],
)
async def test_fail__wrong_settings_change_nothing(door, body):
    status, answer = await ask(door, "PATCH", SETTINGS_PATH, body)
    assert status == 400
    assert answer.startswith(b"wrong settings: ")
    assert door.changes == []


async def test_fail__too_large_refused_and_wrong_method(door):
    assert (await ask(door, "PATCH", SETTINGS_PATH, b" " * (MAX_BYTES + 1)))[0] in (400, 413)
    assert await ask(door, "PATCH", SETTINGS_PATH, b'{"hostname":"-bad-"}') == (
        409,
        b"hostname is wrong (give another)\n",
    )
    assert (await ask(door, "GET", SETTINGS_PATH, b""))[0] == 405
