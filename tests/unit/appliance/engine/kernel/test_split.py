"""The port split by rules or by raw sockets, over twins."""

from collections.abc import Sequence

import pytest

from appliance.engine.kernel.split import PortSplit
from appliance.engine.kernel.steering import steering_document, unsteering_document
from appliance.ports.firewall import FirewallError
from appliance.ports.packets import MemoryUdpPort
from appliance.ports.wireguard_device import MemoryCopyPort
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError

PORT = 41641


class StubbornPort(MemoryCopyPort):
    def move(self, port: int) -> None:
        if port == 999:
            raise OSError(12, "Cannot allocate memory")
        super().move(port)


class Host:
    """`takes` says which documents nftables accepts."""

    def __init__(self, *, steers: bool = True, removes: bool = True) -> None:
        self.steers, self.removes = steers, removes
        self.documents: list[str] = []
        self.ordinary = [MemoryUdpPort(AddrPort("0.0.0.0", 50000))]
        self.copies: list[StubbornPort] = []
        self.split = PortSplit(lambda port: self.ordinary, self._open_copies, self._steer, "waypost0")

    def _open_copies(self, port: int) -> Sequence[StubbornPort]:
        self.copies = [StubbornPort(AddrPort("0.0.0.0", port))]
        return self.copies

    def _steer(self, document: str) -> None:
        self.documents.append(document)
        if not (self.removes if document == unsteering_document() else self.steers):
            raise FirewallError("nft refused the rules")


async def test_ok__rules_and_an_ordinary_socket() -> None:
    host = Host()
    await host.split.open(PORT)
    assert (host.split.ports, host.split.inner_port, host.split.refused) == (host.ordinary, 50000, "")
    host.split.move(1234)
    assert host.documents == [steering_document(port, 50000, "waypost0") for port in (PORT, 1234)]
    assert await host.split.close()
    assert host.documents[-1] == unsteering_document()


async def test_ok__raw_sockets_and_no_rules_of_a_run_before() -> None:
    host = Host(steers=False)
    await host.split.open(PORT)
    assert (host.split.ports, host.split.inner_port) == (host.copies, 0)
    assert host.split.refused == "nft refused the rules"
    assert host.ordinary[0].closed
    assert host.documents == [steering_document(PORT, 50000, "waypost0"), unsteering_document()]
    host.split.move(1234)
    assert host.copies[0].local.port == 1234
    host.removes = False
    assert await host.split.close(), "there is nothing to remove"


@pytest.mark.parametrize("steers", [True, False])
async def test_fail__port_that_cannot_be_taken_leaves_the_former(steers: bool) -> None:
    host = Host(steers=steers)
    await host.split.open(PORT)
    host.steers = False
    with pytest.raises((FirewallError, UnderlayError)):
        host.split.move(999)
    host.steers = True
    host.split.move(1234)
    if not steers:
        assert host.copies[0].local.port == 1234


async def test_fail__rules_that_stay_are_told() -> None:
    host = Host(removes=False)
    await host.split.open(PORT)
    assert not await host.split.close()
