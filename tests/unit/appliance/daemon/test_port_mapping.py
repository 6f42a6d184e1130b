from __future__ import annotations

from appliance.daemon.port_mapping import follow, seen_of
from appliance.magicsock.status import PortMappingSeen
from appliance.portmap.mapping import Kind, Mapping, PortMapping
from appliance.ports.events import EventBus
from appliance.types.addresses import AddrPort
from appliance.types.events import BackendState, BackendStateChanged, LinkChanged

OUTSIDE = AddrPort("203.0.113.5", 50001)


def test_ok__in_the_words_of_path_finding() -> None:
    mapping = Mapping(Kind.PCP, OUTSIDE, 41641, 0.0, 7200.0)
    seen = frozenset((Kind.PCP, Kind.UPNP))
    assert seen_of(PortMapping(mapping, seen)) == PortMappingSeen(OUTSIDE, upnp=True, pmp=False, pcp=True)
    assert seen_of(PortMapping()) == PortMappingSeen()


class Written:
    """In place of the service."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def refresh(self) -> None:
        self.calls.append("refresh")

    def set_wanted(self, wanted: bool) -> None:
        self.calls.append(wanted)


def test_ok__follows_links_and_the_gateway_s_state() -> None:
    bus, service = EventBus(), Written()
    follow(bus, service)  # type: ignore[arg-type]  # what `follow` calls of it
    bus.publish(BackendStateChanged(BackendState.STARTING))
    bus.publish(LinkChanged(major=True))
    bus.publish(BackendStateChanged(BackendState.NEEDS_LOGIN))
    assert service.calls == [True, "refresh", False]
