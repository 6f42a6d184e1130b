"""The host's own network for the gateway: the link monitor, and what follows from its last reading."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from appliance.daemon.parts import Lan
from appliance.drivers.links import LinkMonitor, Uplink
from appliance.portmap.mapping import RouterPlace, behind_router
from appliance.ports.netlink import NetlinkPort
from appliance.types.addresses import Address
from appliance.types.events import LinkChanged
from appliance.uplinks.steering import DefaultRoute


class MonitoredLinks:
    """`own` gives the node's overlay addresses, which are never endpoints."""

    def __init__(
        self,
        netlink: NetlinkPort,
        interface: str,
        on_change: Callable[[LinkChanged], None],
        on_rule_removed: Callable[[], None],
        own: Callable[[], Collection[Address]],
    ) -> None:
        self._own = own
        self.chosen = ""
        """The uplink that the underlay uses instead of the host's default route, "" = none."""
        self._monitor = LinkMonitor(netlink, on_change, on_rule_removed=on_rule_removed, tunnels=(interface,))

    async def start(self) -> None:
        await self._monitor.start()

    async def run(self) -> None:
        await self._monitor.run()

    def close(self) -> None:
        self._monitor.close()

    def endpoint_addresses(self) -> Sequence[Address]:
        network = self._monitor.current
        return network.endpoint_addresses(self._own()) if network is not None else ()

    def default_routes(self) -> Sequence[DefaultRoute]:
        dead = self._monitor.current.dead if self._monitor.current is not None else ()
        alive = [item for item in self._uplinks() if item.interface not in dead]
        return tuple(DefaultRoute(item.version, item.interface, item.gateway) for item in alive)

    def _uplinks(self) -> list[Uplink]:
        network = self._monitor.current
        if network is None:
            return []
        spare = sorted(network.spare, key=lambda item: (item.version, item.interface))
        return [*sorted(network.uplinks, key=lambda item: item.version), *spare]

    def router_place(self) -> RouterPlace | None:
        uplinks = [item for item in self._uplinks() if item.version == 4]
        uplink = next((item for item in uplinks if item.interface == self.chosen), uplinks[0] if uplinks else None)
        if uplink is None or uplink.gateway is None:
            return None
        nearest = sorted(uplink.addresses, key=lambda item: (uplink.gateway not in item.network, str(item)))
        return behind_router(uplink.gateway, nearest[0].ip) if nearest else None

    def uplink_names(self) -> Sequence[str]:
        network = self._monitor.current
        return sorted({uplink.interface for uplink in network.uplinks}) if network is not None else ()

    def lans(self) -> Sequence[Lan]:
        network = self._monitor.current
        if network is None:
            return ()
        return tuple(
            Lan(item.interface, str(item.address.network), str(item.address.ip), item.interface not in network.dead)
            for item in sorted(network.addresses, key=lambda item: (item.interface, str(item.address)))
            if not item.address.is_link_local
        )
