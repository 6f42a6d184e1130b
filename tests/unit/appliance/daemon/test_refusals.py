from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from appliance.daemon.refusals import RefusalDesk
from appliance.ports.firewall import MemoryFirewall
from appliance.ports.netlink import MemoryNetlink
from appliance.ports.refused import REFUSED_GROUP, MemoryRefusedPort
from appliance.ports.sysctl import MemoryJournal, MemorySysctl
from appliance.ports.tsmp import MemoryTsmpPort
from appliance.proto.tsmp import Rejected, parse_packet
from appliance.router.service import Router
from appliance.types.keys import NodePublicKey

PEER = SimpleNamespace(key=NodePublicKey(b"\x02" * 32), wireguard_only=False)
SYN = bytes.fromhex("450000280000400040060000644000026440000100160050")
"""From 100.64.0.2 port 22 to 100.64.0.1 port 80."""
STRANGER = SYN[:15] + b"\x09" + SYN[16:]


class Rig:
    def __init__(self) -> None:
        self.engine, self.firewall, self.refused = MemoryTsmpPort(), MemoryFirewall(), MemoryRefusedPort()
        self.shields_up = False
        self.peers = {"100.64.0.2": PEER}
        self.lacking = False
        self.desk = RefusalDesk(
            self.engine,
            Router(MemoryNetlink(), self.firewall, MemorySysctl({}), MemoryJournal()).can_log,
            lambda: SimpleNamespace(peer_by_address=lambda address: self.peers.get(str(address))),  # type: ignore[arg-type,return-value]  # what is asked of a view
            lambda: self.shields_up,
            self._open,
        )

    def _open(self, group: int) -> MemoryRefusedPort:
        assert group == REFUSED_GROUP
        if self.lacking:
            raise OSError(93, "Protocol not supported")
        return self.refused

    def told(self) -> list[Rejected]:
        return [
            message
            for _, packet in self.engine.packets
            if isinstance(message := parse_packet(packet).message, Rejected)
        ]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    made.desk.close()
    assert made.desk.group == 0


async def test_ok__peer_is_told_of_its_refused_connection(rig: Rig) -> None:
    assert rig.desk.group == 0
    await rig.desk.start()
    await rig.desk.start()
    assert rig.desk.group == REFUSED_GROUP
    assert rig.firewall.tables == {}
    rig.refused.refuse(SYN)
    rig.shields_up = True
    rig.refused.refuse(SYN)
    assert [key for key, _ in rig.engine.packets] == [PEER.key, PEER.key]
    assert rig.told() == [Rejected(6, ord("A"), 22, 80), Rejected(6, ord("S"), 22, 80)]


async def test_fail__nobody_else_is_told(rig: Rig) -> None:
    await rig.desk.start()
    rig.refused.refuse(STRANGER)
    rig.refused.refuse(b"\x45")
    rig.peers["100.64.0.9"] = SimpleNamespace(key=PEER.key, wireguard_only=True)
    rig.refused.refuse(STRANGER)
    assert rig.engine.packets == []
    assert rig.desk.counters == {"refused_no_peer": 2, "refused_too_short": 1}


async def test_fail__kernel_that_cannot_log(rig: Rig) -> None:
    rig.firewall.refuse = "No such file or directory"
    await rig.desk.start()
    assert rig.desk.group == 0


async def test_fail__kernel_without_the_log(rig: Rig) -> None:
    rig.lacking = True
    await rig.desk.start()
    assert rig.desk.group == 0
