"""A Headscale database taken over: its clients go on without a new login."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from appliance.types.errors import StateError
from control.service.errors import ConflictError
from control.service.headscale import read_headscale
from tests.unit.control.service.conftest import ADMIN, machine, node_key

SAMPLE = Path(__file__).parents[3] / "samples" / "headscale.sql"
OLD_KEY = "0123456789abcdef0123456789abcdef0123456789abcdef"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "db.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SAMPLE.read_text())
    return path


def _change(file, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


async def test_ok__everything_that_can_be_taken(rig, file):
    report = await rig.service.imports.headscale(ADMIN, read_headscale(file))
    assert report.taken == {"users": 2, "pre-auth keys": 1, "nodes": 3, "nodes with approved routes": 1, "policy": 1}
    refused = dict(report.not_taken)
    assert "bcrypt" in refused["pre-auth key 2"]
    assert "expired" in refused["pre-auth key 3"]
    assert "cannot be read" in refused["node torn"]
    assert {"API key zyxwvut", "identity of user bob"} <= set(refused)
    assert report.changed == [("user Bob@example.org", "is called bob now")]
    nodes = {node.given_name: node for node in rig.service.view().nodes.values()}
    router, phone, tagged = nodes["router"], nodes["bobs-phone"], nodes["db"]
    assert (router.machine_key, router.node_key, router.stable_id) == (machine(4), node_key(4), "4")
    assert (router.ipv4, router.home_derp) == (IPv4Address("100.64.0.1"), 7)
    assert router.served_routes == (ip_network("10.4.0.0/24"),)
    assert [str(endpoint) for endpoint in router.endpoints] == ["192.0.2.4:41641", "[2001:db8::4]:41641"]
    assert phone.ipv4 not in {router.ipv4, tagged.ipv4}
    assert phone.key_expiry is not None
    assert (tagged.user_id, tagged.tags, tagged.key_expiry, tagged.ephemeral) == (None, ("tag:db",), None, True)
    assert rig.service.policies.get(ADMIN).text.endswith("// all")
    assert rig.service.view().are_peers(router.id, phone.id)
    loaded = dict(rig.service.view().nodes)
    await rig.reopen()
    assert dict(rig.service.view().nodes) == loaded


async def test_ok__old_clients_need_no_new_login(rig, file):
    await rig.service.imports.headscale(ADMIN, read_headscale(file))
    answer = await rig.register(4)
    assert (answer.error, answer.auth_url, answer.machine_authorized) == ("", "", True)
    assert rig.service.node_for(machine(4), node_key(4)) is not None
    joined = await rig.register(20, OLD_KEY)
    assert joined.error == ""
    assert (await rig.register(21, OLD_KEY + "0")).error
    assert len({node.ipv4 for node in rig.service.view().nodes.values()}) == 4


async def test_ok__a_policy_that_is_not_understood_closes_the_mesh(rig, file):
    _change(file, """UPDATE policies SET data = '{"nonsense": 1}' WHERE id = 2""")
    report = await rig.service.imports.headscale(ADMIN, read_headscale(file))
    assert "nobody reaches anybody" in dict(report.not_taken)["policy"]
    one, two, *_ = rig.service.view().nodes
    assert not rig.service.view().are_peers(one, two)


async def test_ok__routes_of_old_versions(rig, file):
    _change(
        file,
        "ALTER TABLE nodes DROP COLUMN approved_routes",
        "CREATE TABLE routes (id INTEGER, node_id INTEGER, prefix TEXT, advertised NUMERIC, enabled NUMERIC)",
        "INSERT INTO routes VALUES (1, 4, '10.4.0.0/24', 1, 0), (2, 4, '10.5.0.0/24', 1, 1)",
        "DROP TABLE policies",
    )
    report = await rig.service.imports.headscale(ADMIN, read_headscale(file))
    assert "policy set" in dict(report.not_taken)["policy"]
    router = rig.service.nodes.find("router")
    assert router.approved_routes == (ip_network("10.5.0.0/24"),)


async def test_fail__not_into_a_server_in_use(rig, file):
    await rig.service.users.create(ADMIN, "carol")
    with pytest.raises(ConflictError, match="users or nodes already"):
        await rig.service.imports.headscale(ADMIN, read_headscale(file))
    assert not rig.service.view().nodes


def test_fail__no_headscale_database(tmp_path):
    with pytest.raises(StateError, match="there is no"):
        read_headscale(tmp_path / "none")
    (tmp_path / "text").write_text("x" * 4096)
    with pytest.raises(StateError, match="cannot read"):
        read_headscale(tmp_path / "text")
    sqlite3.connect(tmp_path / "other").close()
    with pytest.raises(StateError, match="no Headscale database"):
        read_headscale(tmp_path / "other")
