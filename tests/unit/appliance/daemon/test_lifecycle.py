"""What the gateway notices once a second, through the whole process."""

from __future__ import annotations

from datetime import timedelta

import pytest

from appliance.daemon.peer_handshakes import PeerHandshake, PeerHandshakes
from appliance.state.document import Document
from appliance.types.events import LinkChanged
from appliance.types.keys import NodePublicKey

pytestmark = pytest.mark.timeout(30)


async def test_ok__sleep_is_a_major_change_of_the_network(process) -> None:
    seen: list[LinkChanged] = []
    process.core.bus.subscribe(LinkChanged, seen.append)
    process.gateway._lifecycle._clocks._seen = (
        process.core.clock.now() - 60,
        process.core.clock.wall_now() - timedelta(seconds=60),
    )
    await process.keeper.tick()
    assert [event.major for event in seen] == [True]
    assert "slept for 60 s" in seen[0].reason
    assert process.engine.rebinds


async def test_ok__peers_of_the_run_before_are_greeted_once_they_are_known(start, host, url, key) -> None:
    first = await start(host)
    await first.up(url, key)
    peer = NodePublicKey(b"p" * 32)
    path = f"{first.core.profile.folder}/peers.json"
    await first.stop()
    stored = PeerHandshakes(1000, {str(peer): PeerHandshake("", 990)})
    Document(host.store, path, PeerHandshakes).save(stored)
    second = await start(host)
    await second.until(lambda: any(diff.greet for diff in second.engine.applied))
    assert [diff.greet for diff in second.engine.applied if diff.greet] == [(peer,)]


async def test_ok__our_clock_corrected_does_not_move_the_servers(process, url, key) -> None:
    await process.up(url, key)
    time = process.gateway._client.store.time
    assert time.skew == timedelta()
    process.gateway._lifecycle._jumped(timedelta(days=365))
    assert time.skew == -timedelta(days=365)
