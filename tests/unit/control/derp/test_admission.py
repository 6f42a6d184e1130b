"""A list of keys and a node on the same host; the node is a real HTTP server on a Unix socket."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from appliance.types.errors import ConfigError, ControlError
from appliance.types.keys import NodePublicKey
from control.derp.admission import ListAdmission, NodeAdmission, all_of

KEY, OTHER = NodePublicKey(b"\x44" * 32), NodePublicKey(b"\x55" * 32)


async def test_ok__the_list_with_remarks_and_a_reload(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n\n{KEY}  gateway of site A\n")
    admission = ListAdmission(file)
    admission.load()
    assert (await admission.admit(KEY, ""), await admission.admit(OTHER, "")) == (True, False)
    file.write_text(f"{OTHER}\n")
    admission.load()
    assert (await admission.admit(KEY, ""), await admission.admit(OTHER, "")) == (False, True)


async def test_fail__a_bad_line_is_named_and_the_old_list_stays(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n")
    admission = ListAdmission(file)
    admission.load()
    file.write_text(f"{OTHER}\nnokey:1\n")
    with pytest.raises(ConfigError, match="keys:2"):
        admission.load()
    assert await admission.admit(KEY, "")
    assert len(admission) == 1
    with pytest.raises(ConfigError, match="cannot read"):
        ListAdmission(tmp_path / "none").load()


async def test_ok__whom_the_node_sees_may(tmp_path: Path) -> None:
    async def whois(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.query["addr"] == str(KEY) else 404)

    app = web.Application()
    app.router.add_get("/localapi/v0/whois", whois)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "node.sock")).start()
    admission = NodeAdmission(str(tmp_path / "node.sock"))
    assert (await admission.admit(KEY, ""), await admission.admit(OTHER, "")) == (True, False)
    await admission.close()
    await runner.cleanup()


async def test_fail__no_node_there(tmp_path: Path) -> None:
    admission = NodeAdmission(str(tmp_path / "none.sock"))
    with pytest.raises(ControlError, match="does not answer"):
        await admission.admit(KEY, "")
    await admission.close()


async def test_ok__all_must_agree() -> None:
    async def yes(key: NodePublicKey, ip: str) -> bool:
        return True

    async def only(key: NodePublicKey, ip: str) -> bool:
        return key == KEY

    assert all_of([]) is None
    both = all_of([yes, only])
    assert both is not None
    assert (await both(KEY, ""), await both(OTHER, "")) == (True, False)
