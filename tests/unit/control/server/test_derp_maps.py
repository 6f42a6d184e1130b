"""DERP maps from files and URLs: joined, kept when a source fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from appliance.types.errors import ConfigError
from appliance.types.ids import RegionId
from appliance.types.netmap import DerpMap, DerpNode, DerpRegion
from control.server.derp_maps import DerpMaps


def regions(*numbers: int, name: str = "x") -> bytes:
    found = {
        str(number): {
            "RegionID": number,
            "RegionCode": name,
            "RegionName": name,
            "Nodes": [{"Name": f"{number}a", "RegionID": number, "HostName": f"{name}.example"}],
        }
        for number in numbers
    }
    return json.dumps({"Regions": found}).encode()


def own() -> DerpMap:
    number = RegionId(900)
    node = DerpNode(name="900a", region_id=number, host_name="own.example")
    return DerpMap(regions={number: DerpRegion(id=number, code="home", name="Own", nodes=(node,))})


class Source:
    """An HTTP server with a DERP map."""

    def __init__(self) -> None:
        self.body = regions(1, 2, name="url")
        self.status = 200

    async def answer(self, request: web.Request) -> web.Response:
        return web.Response(body=self.body, status=self.status)

    async def start(self) -> tuple[web.AppRunner, str]:
        app = web.Application()
        app.router.add_get("/map", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        addresses: list[Any] = runner.addresses
        return runner, f"http://127.0.0.1:{addresses[0][1]}/map"


async def test_ok__sources_are_joined_and_files_win(tmp_path: Path) -> None:
    runner, url = await Source().start()
    file = tmp_path / "derp.json"
    file.write_bytes(regions(2, 3, name="file"))
    maps = DerpMaps(tmp_path, (url,), (file,), own)
    found = await maps.load()
    await runner.cleanup()
    assert {number: region.code for number, region in found.regions.items()} == {
        1: "url",
        2: "file",
        3: "file",
        900: "home",
    }
    assert maps.needs_refresh


async def test_ok__a_source_that_fails_keeps_its_last_form_also_over_a_restart(tmp_path: Path) -> None:
    source = Source()
    runner, url = await source.start()
    maps = DerpMaps(tmp_path, (url,), (), own)
    assert set((await maps.load()).regions) == {1, 2, 900}
    source.body = regions(4)
    assert set((await maps.refresh()).regions) == {4, 900}
    for body, status in ((b"{}", 200), (b"junk", 200), (regions(5), 500)):
        source.body, source.status = body, status
        assert set((await maps.refresh()).regions) == {4, 900}
    await runner.cleanup()
    assert set((await DerpMaps(tmp_path, (url,), (), own).load()).regions) == {4, 900}


async def test_fail__a_bad_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "derp.json"
    with pytest.raises(ConfigError, match="cannot read"):
        await DerpMaps(tmp_path, (), (file,), own).load()
    file.write_bytes(b'{"Regions":{}}')
    with pytest.raises(ConfigError, match=r"derp\.json"):
        await DerpMaps(tmp_path, (), (file,), own).load()
