"""Backup of a working server, restored into either kind of database."""

from __future__ import annotations

import json
import os

import pytest

from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.types.errors import StateError
from control.service.archive import back_up, bring_back
from control.service.service import open_service
from control.service.settings import ServiceSettings
from control.state.identity import NOISE_KEY_FILE, load_identity
from tests.unit.control.service.conftest import ADMIN


@pytest.fixture(params=["sqlite", "postgresql"])
def target_text(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'target.db'}"
        return
    server = request.getfixturevalue("postgres")
    url = server.create()
    yield url
    server.drop(url)


async def _open(folder, text):
    settings = ServiceSettings(domain="net.example")
    return await open_service(
        folder, settings, clock=VirtualClock(), randomness=SeededRandomness(9), database_text=text
    )


async def test_ok__round_trip_while_the_server_runs(rig, tmp_path, target_text):
    identity = load_identity(tmp_path, SeededRandomness(3))
    await rig.join(1, routable_ips=["10.0.0.0/24"])
    gone = await rig.join(2)
    await rig.service.nodes.delete(ADMIN, gone.given_name)
    await rig.service.policies.set(ADMIN, '{"acls": []} // none')
    file, folder = tmp_path / "backup", tmp_path / "new"
    assert await back_up(tmp_path, rig.database, file) > 5
    assert file.stat().st_mode & 0o777 == 0o600
    counts = await bring_back(folder, target_text, file)
    assert (counts["nodes"], counts["users"], counts["policies"]) == (1, 1, 1)
    restored = await _open(folder, target_text)
    assert dict(restored.view().nodes) == dict(rig.service.view().nodes)
    assert dict(restored.view().users) == dict(rig.service.view().users)
    assert restored.policies.get(ADMIN) == rig.service.policies.get(ADMIN)
    assert await restored.keys.list(ADMIN) == await rig.service.keys.list(ADMIN)
    assert await restored.audit.list(ADMIN) == await rig.service.audit.list(ADMIN)
    assert load_identity(folder, SeededRandomness(4)) == identity
    rig.service, former = restored, rig.service
    try:
        joined = await rig.join(3)
        assert joined.id > gone.id
        assert joined.ipv4 > gone.ipv4
    finally:
        rig.service = former
        await restored.close()


async def test_fail__nothing_is_overwritten(rig, tmp_path, target_text):
    load_identity(tmp_path, SeededRandomness(3))
    file = tmp_path / "backup"
    await back_up(tmp_path, rig.database, file)
    await bring_back(tmp_path / "new", target_text, file)
    with pytest.raises(StateError, match="a mesh in this database"):
        await bring_back(tmp_path / "new", target_text, file)
    load_identity(tmp_path / "other", SeededRandomness(4))
    with pytest.raises(StateError, match="another key"):
        await bring_back(tmp_path / "other", f"sqlite:///{tmp_path / 'third.db'}", file)
    assert not (tmp_path / "third.db").exists()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "no backup"),
        ("hello\n", "no backup"),
        ('{"keys": {}}\n', "no backup"),
        ('{"keys": {}}\n{"format": "waypost-control-backup", "version": 2, "last_ids": {}}\n', "newer version"),
        ('{"keys": {}}\nHEAD{"table": "nothing", "row": {}}\n', "does not exist"),
        ('{"keys": {}}\nHEAD{"table": "tailnets", "row": {"id": 1, "created": "never"}}\n', "damaged"),
        ('{"keys": {}}\nHEAD{"table"\n', "line 2"),
    ],
)
async def test_fail__damaged(tmp_path, text, match):
    header = {"format": "waypost-control-backup", "version": 1, "form": "0001", "last_ids": {}}
    file = tmp_path / "backup"
    file.write_text(text.replace("HEAD", json.dumps(header) + "\n"))
    with pytest.raises(StateError, match=match):
        await bring_back(tmp_path / "new", "", file)
    assert not (tmp_path / "new" / NOISE_KEY_FILE).exists()


async def test_fail__no_server_and_no_file(tmp_path):
    with pytest.raises(StateError, match="no control server"):
        await back_up(tmp_path / "none", "", tmp_path / "backup")
    with pytest.raises(StateError, match="cannot read"):
        await bring_back(tmp_path, "", tmp_path / "none")
    assert not os.listdir(tmp_path)
