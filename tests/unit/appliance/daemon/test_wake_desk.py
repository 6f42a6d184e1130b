"""Who is woken where, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from appliance.daemon.parts import Lan
from appliance.daemon.peer_lookup import NotConnectedError
from appliance.daemon.wake_desk import BURST, TooManyWakesError, WakeDesk
from appliance.ports.clock import VirtualClock
from appliance.ports.streams import MemoryDialer
from appliance.proto.wake_on_lan import PORT, parse_magic_packet
from appliance.types.errors import ApplianceError, ConfigError

MAC = "00:1a:2b:3c:4d:5e"
LANS = (
    Lan("lan0", "fd00:1::/64", "fd00:1::1"),
    Lan("lan0", "192.168.10.0/24", "192.168.10.1"),
    Lan("lan1", "fd00:2::/64", "fd00:2::1"),
)


@dataclass
class Wire:
    """Where datagrams go; `dead` interfaces refuse them."""

    dead: tuple[str, ...] = ()
    sent: list[tuple[str, str, int, str]] = field(default_factory=list)

    def send(self, interface: str, source: str, port: int, data: bytes) -> None:
        if interface in self.dead:
            raise OSError(100, "Network is down")
        self.sent.append((interface, source, port, parse_magic_packet(data)))


def desk(wire: Wire, clock: VirtualClock | None = None, lans: tuple[Lan, ...] = LANS) -> WakeDesk:
    return WakeDesk(lambda: lans, lambda: None, MemoryDialer(), clock or VirtualClock(), wire.send)


async def test_ok__once_on_each_network_by_ipv4_where_there_is_one() -> None:
    wire = Wire()
    report = await desk(wire).wake("00-1A-2B-3C-4D-5E")
    assert wire.sent == [("lan0", "192.168.10.1", PORT, MAC), ("lan1", "fd00:2::1", PORT, MAC)]
    assert (report.sent, report.errors) == (("lan0", "lan1"), ())


async def test_ok__on_one_network_only() -> None:
    wire = Wire()
    assert (await desk(wire).wake(MAC, "lan1")).sent == ("lan1",)
    assert [interface for interface, *_ in wire.sent] == ["lan1"]


async def test_ok__a_dead_network_does_not_keep_the_others() -> None:
    report = await desk(Wire(dead=("lan0",))).wake(MAC)
    assert (report.sent, report.errors) == (("lan1",), ("lan0: Network is down",))


@pytest.mark.parametrize(
    ("mac", "interface", "words"),
    [("nas", "", "hardware address"), ("ff:ff:ff:ff:ff:ff", "", "single card"), (MAC, "eth9", "no network")],
)
async def test_fail__wishes_that_cannot_be(mac: str, interface: str, words: str) -> None:
    wire = Wire()
    with pytest.raises(ConfigError, match=words) as caught:
        await desk(wire).wake(mac, interface)
    assert caught.value.mend
    assert wire.sent == []


async def test_fail__nothing_attached() -> None:
    with pytest.raises(ApplianceError, match="no network"):
        await desk(Wire(), lans=()).wake(MAC)


async def test_fail__too_many_at_once_then_one_a_second() -> None:
    wire, clock = Wire(), VirtualClock()
    waker = desk(wire, clock)
    for _ in range(BURST):
        await waker.wake(MAC, "lan0")
    with pytest.raises(TooManyWakesError):
        await waker.wake(MAC, "lan0")
    clock.advance(1.0)
    await waker.wake(MAC, "lan0")
    with pytest.raises(TooManyWakesError):
        await waker.wake(MAC, "lan0")
    assert len(wire.sent) == BURST + 1


async def test_fail__elsewhere_without_a_mesh() -> None:
    with pytest.raises(NotConnectedError):
        await desk(Wire()).wake(MAC, via="gateway-b")
