"""What the doctor learns of the resolver."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from appliance.api import CommandReply
from appliance.daemon.dns_facts import dns_facts
from appliance.pluginhost.errors import PluginError

STATUS: dict[str, Any] = {
    "listening": ["100.100.100.100 port 53"],
    "refused": {},
    "upstreams": [
        {"name": "9.9.9.9", "error": "", "looping": False},
        {"name": "1.2.3.4", "error": "", "looping": True},
    ],
    "host": {"wanted": "auto", "error": "helper is away"},
}


class Plugins:
    def __init__(self, status: dict[str, Any] | None) -> None:
        self.status = status

    async def run_command(self, plugin: str, command: str, arguments: tuple[str, ...]) -> CommandReply:
        if self.status is None:
            raise PluginError(plugin, "is not running")
        return CommandReply(json.dumps(self.status))


def answering(rcode: int):
    async def lookup(query: bytes) -> bytes:
        return query[:2] + struct.pack(">H", 0x8400 | rcode) + query[4:]

    return lookup


async def refusing(_query: bytes) -> bytes:
    raise ConnectionRefusedError("nobody listens")


async def test_ok__loops_apart_from_the_others() -> None:
    found = await dns_facts(Plugins(STATUS), answering(0), "gateway-a.mesh.test")  # type: ignore[arg-type]  # enough of it
    assert found is not None
    assert (found.looping, dict(found.upstreams), found.answers) == (("1.2.3.4",), {"9.9.9.9": ""}, True)
    assert found.host_error == "", "auto leaves a host without a helper alone"


@pytest.mark.parametrize("lookup", [answering(3), refusing])
async def test_fail__it_does_not_answer(lookup: Any) -> None:
    host = {"wanted": "resolved", "error": "no such bus"}
    found = await dns_facts(Plugins({**STATUS, "host": host}), lookup, "gateway-a.mesh.test")  # type: ignore[arg-type]  # enough of it
    assert found is not None
    assert (found.answers, found.host_error) == (False, "no such bus")


async def test_ok__nothing_is_asked_outside_of_a_mesh_and_without_the_plugin() -> None:
    found = await dns_facts(Plugins(STATUS), refusing, "")  # type: ignore[arg-type]  # enough of it
    assert found is not None
    assert found.answers is None
    assert await dns_facts(Plugins(None), refusing, "a") is None  # type: ignore[arg-type]  # enough of it
