"""Transactions, migrations and what survives."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from sqlalchemy import inspect, text

from appliance.proto.control.messages import Hostinfo, NetInfo
from appliance.types.addresses import AddrPort
from appliance.types.errors import StateError
from appliance.types.keys import DiscoPublicKey, MachinePublicKey, NodePublicKey
from control.state.database import open_database, sqlite_url
from control.state.engines import database_url, make_engine
from control.state.models import metadata
from control.state.records import DEFAULT_TAILNET, NodeRecord, PreAuthKeyId, PreAuthKeyRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def url(database_text):
    return database_url(database_text)


@pytest.fixture
async def database(url):
    opened = await open_database(url)
    async with opened.begin(DEFAULT_TAILNET) as tx:
        await tx.ensure_tailnet("net.example", NOW)
    yield opened
    await opened.close()


def _node(number: int, **values) -> NodeRecord:
    plain = {
        "id": 0,
        "stable_id": f"n{number}",
        "user_id": None,
        "machine_key": MachinePublicKey(bytes([number]) * 32),
        "node_key": NodePublicKey(bytes([number]) * 32),
        "given_name": f"gw{number}",
        "ipv4": IPv4Address(f"100.64.0.{number}"),
        "ipv6": IPv6Address(f"fd7a:115c:a1e0::{number}"),
        "created": NOW,
    }
    return NodeRecord(**{**plain, **values})


async def test_ok__many_nodes_change_at_once(database):
    later = datetime(2026, 2, 2, tzinfo=UTC)
    async with database.begin(DEFAULT_TAILNET) as tx:
        ids = [await tx.add_node(_node(number)) for number in (1, 2, 3)]
        await tx.remove_node(ids[2])
        await tx.change_nodes(
            {
                ids[0]: {"last_seen": later, "home_derp": 7},
                ids[1]: {"last_seen": later},
                ids[2]: {"last_seen": later},
            }
        )
        found = {node.id: node for node in await tx.nodes()}
    assert set(found) == set(ids[:2])
    assert [found[number].last_seen for number in ids[:2]] == [later, later]
    assert [found[number].home_derp for number in ids[:2]] == [7, 0]


async def test_ok__node_round_trip(database):
    hostinfo = Hostinfo(hostname="gw", routable_ips=["10.1.0.0/16", "bad", "10.0.0.0/24"], net_info=NetInfo())
    node = _node(
        1,
        hostinfo=hostinfo,
        disco_key=DiscoPublicKey(b"d" * 32),
        endpoints=(AddrPort("1.2.3.4", 5), AddrPort("2001:db8::1", 6)),
        endpoint_types=(1, 2),
        tags=("tag:gw",),
        approved_routes=(ip_network("10.0.0.0/24"),),
        key_expiry=NOW,
        last_seen=NOW,
    )
    async with database.begin(DEFAULT_TAILNET) as tx:
        node_id = await tx.add_node(node)
    async with database.begin(DEFAULT_TAILNET) as tx:
        [loaded] = await tx.nodes()
    assert loaded.id == node_id
    assert loaded.advertised_routes == (ip_network("10.0.0.0/24"), ip_network("10.1.0.0/16"))
    assert loaded.served_routes == (ip_network("10.0.0.0/24"),)
    for name in ("hostinfo", "disco_key", "endpoints", "endpoint_types", "tags", "key_expiry", "last_seen", "ipv6"):
        assert getattr(loaded, name) == getattr(node, name), name


async def test_ok__a_failed_block_leaves_nothing(database):
    async def write_then_fail() -> None:
        async with database.begin(DEFAULT_TAILNET) as tx:
            await tx.add_node(_node(1))
            await tx.give_ipv4()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        await write_then_fail()
    async with database.begin(DEFAULT_TAILNET) as tx:
        assert await tx.nodes() == []
        assert await tx.give_ipv4() == IPv4Address("100.64.0.1")


async def test_fail__one_address_for_two_nodes(database):
    async with database.begin(DEFAULT_TAILNET) as tx:
        await tx.add_node(_node(1))
    with pytest.raises(StateError, match=r"UNIQUE|duplicate key"):
        async with database.begin(DEFAULT_TAILNET) as tx:
            await tx.add_node(_node(2, ipv4=IPv4Address("100.64.0.1")))


async def test_ok__ids_and_addresses_are_not_given_again(database):
    async with database.begin(DEFAULT_TAILNET) as tx:
        first = await tx.add_node(_node(1, ipv4=await tx.give_ipv4(), ipv6=await tx.give_ipv6()))
        await tx.remove_node(first)
    async with database.begin(DEFAULT_TAILNET) as tx:
        assert (await tx.give_ipv4(), await tx.give_ipv6()) == (
            IPv4Address("100.64.0.2"),
            IPv6Address("fd7a:115c:a1e0::2"),
        )
        assert await tx.add_node(_node(2)) > first


async def test_ok__a_single_use_key_is_consumed_once(database):
    key = PreAuthKeyRecord(PreAuthKeyId(0), "abc", None, ("tag:gw",), False, False, NOW, None)
    async with database.begin(DEFAULT_TAILNET) as tx:
        key_id = await tx.add_key(key, b"h" * 32)
        assert await tx.use_key(key_id, NOW)
        assert not await tx.use_key(key_id, NOW)
        found = await tx.key_by_prefix("abc")
    assert found is not None
    assert found[0].state(NOW) == "used"
    assert found[0].tags == ("tag:gw",)


async def test_ok__migrations_make_what_the_models_say(database):
    engine = make_engine(database.url)
    async with engine.connect() as connection:
        made = await connection.run_sync(
            lambda sync: {
                table.name: {column["name"] for column in inspect(sync).get_columns(table.name)}
                for table in metadata.sorted_tables
            }
        )
    assert made == {table.name: set(table.c.keys()) for table in metadata.sorted_tables}
    await engine.dispose()


async def test_fail__a_newer_database_is_refused(url):
    await (await open_database(url)).close()
    engine = make_engine(url)
    async with engine.begin() as connection:
        current = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one()
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StateError, match="newer version"):
        await open_database(url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": current})
    await engine.dispose()


async def test_ok__an_empty_database_is_brought_to_the_current_form(postgres):
    url = database_url(postgres.create(empty=True))
    both = await asyncio.gather(open_database(url), open_database(url))
    for database in both:
        async with database.begin(DEFAULT_TAILNET) as tx:
            assert await tx.nodes() == []
        await database.close()


async def test_fail__nobody_answers(tmp_path):
    with pytest.raises(StateError, match="cannot open the database postgresql://w:\\*\\*\\*@/mesh"):
        await open_database(database_url(f"postgresql://w:secret@/mesh?host={tmp_path}"))


async def test_fail__not_a_database(tmp_path):
    path = tmp_path / "control.db"
    path.write_bytes(b"x" * 4096)
    with pytest.raises(StateError, match="cannot open"):
        await open_database(sqlite_url(path))


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from control.state.database import open_database
from control.state.engines import database_url
from control.state.records import DEFAULT_TAILNET

async def main():
    database = await open_database(database_url(sys.argv[1]))
    async with database.begin(DEFAULT_TAILNET) as tx:
        await tx.ensure_tailnet("net.example", datetime.now(UTC))
    while True:
        async with database.begin(DEFAULT_TAILNET) as tx:
            given = await tx.give_ipv4()
            await tx.add_user({"name": str(given), "role": "member", "created": datetime.now(UTC)})
        print(given, flush=True)

asyncio.run(main())
"""


@pytest.mark.timeout(60)
async def test_ok__kill_loses_nothing_acknowledged_and_gives_nothing_twice(database_text, url):
    acknowledged: list[str] = []
    for round_lines in (3, 7):
        process = subprocess.Popen([sys.executable, "-c", WRITER, database_text], stdout=subprocess.PIPE, text=True)
        acknowledged += [process.stdout.readline().strip() for _ in range(round_lines)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += process.stdout.read().split()
        process.stdout.close()
        process.wait()
    assert len(set(acknowledged)) == len(acknowledged)
    database = await open_database(url)
    async with database.begin(DEFAULT_TAILNET) as tx:
        stored = [user.name for user in await tx.users()]
        assert str(await tx.give_ipv4()) not in stored
    await database.close()
    assert set(acknowledged) <= set(stored)
    assert len(stored) - len(acknowledged) <= 2


async def test_ok__writers_take_turns(database):
    async def add(name: str) -> None:
        async with database.begin(DEFAULT_TAILNET) as tx:
            await tx.add_user({"name": name, "role": "member", "created": NOW})

    await asyncio.gather(*(add(f"u{number}") for number in range(5)))
    async with database.begin(DEFAULT_TAILNET) as tx:
        assert len(await tx.users()) == 5
