"""Where the tunnel's device, addresses, routes, filter and overlay sockets live: on the host, or in an own network.

The underlay (UDP port, connections to control and DERP, the link monitor) is on the host's network in both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from appliance.config.schema import Config
from appliance.daemon.boot_guard import keep_guard
from appliance.daemon.netlink_thread import ThreadedNetlink
from appliance.drivers.conntrack import LinuxConntrack
from appliance.drivers.helper import HelpedSysctl, HelperClient
from appliance.drivers.netlink import LinuxNetlink
from appliance.drivers.nftables import NftFirewall
from appliance.drivers.privileges import check_privileges
from appliance.drivers.rootless.network import InnerFirewall, InnerNetwork, InnerSysctl, NetworkLostError
from appliance.drivers.sockets import OpenSocket, open_socket
from appliance.drivers.streams import BYPASS_MARK
from appliance.drivers.sysctl import FileJournal, ProcSysctl
from appliance.drivers.tun import LinuxTunPort, open_tun
from appliance.drivers.udp import LinuxUdpPort, open_udp_ports
from appliance.ports.events import EventBus
from appliance.ports.netlink import NetlinkPort
from appliance.ports.sysctl import MemoryJournal
from appliance.router.service import Router
from appliance.state.files import FileStore
from appliance.types.errors import ConfigError

log = structlog.get_logger("waypostd")


@dataclass(frozen=True, slots=True)
class Placement:
    """`host` is the host's netlink, whose links are watched; `sockets` make those of the overlay."""

    rootless: bool
    host: NetlinkPort
    sockets: OpenSocket
    open_tun: Callable[[str, int], LinuxTunPort]
    open_udp: Callable[[int], Sequence[LinuxUdpPort]]
    make_router: Callable[[EventBus], Router]
    network: InnerNetwork | None = None


def check_placement(config: Config) -> None:
    """Raises `PrivilegeError` with the first thing that is missing, `ConfigError` for what only root can do."""
    if config.daemon.rootless:
        if config.paths.uplinks:
            text = "paths.uplinks cannot be used by a rootless gateway: it may not change the host's routes"
            raise ConfigError(text, mend="run waypostd as root, or take paths.uplinks out")
        check_privileges(needed=())
    else:
        check_privileges()


def make_placement(config: Config, stack: AsyncExitStack) -> Placement:
    """As the configuration says; `stack` undoes it. Raises `PrivilegeError`."""
    host = ThreadedNetlink(LinuxNetlink())
    stack.push_async_callback(host.close)
    if config.daemon.rootless:
        return _rootless(host, stack.enter_context(InnerNetwork.start()), stack)
    return Placement(
        rootless=False,
        host=host,
        sockets=open_socket,
        open_tun=open_tun,
        open_udp=lambda port: open_udp_ports(port, mark=BYPASS_MARK),
        make_router=lambda bus: host_router(config, host, bus),
    )


def _rootless(host: NetlinkPort, network: InnerNetwork, stack: AsyncExitStack) -> Placement:
    """Nothing here outlives the network, so neither does the journal of its settings."""
    netlink = ThreadedNetlink(LinuxNetlink(network.open_socket))
    stack.push_async_callback(netlink.close)
    return Placement(
        rootless=True,
        host=host,
        sockets=network.open_socket,
        open_tun=partial(open_tun, device=network.open_tun_device, sockets=network.open_socket),
        open_udp=open_udp_ports,
        make_router=lambda bus: Router(
            netlink,
            InnerFirewall(network),
            InnerSysctl(network),
            MemoryJournal(),
            conntrack=LinuxConntrack(network.open_socket),
            health=bus.publish,
        ),
        network=network,
    )


def host_router(config: Config, netlink: NetlinkPort, bus: EventBus) -> Router:
    """The journal of kernel settings lies beside the socket, where a reboot empties it; the guard, where none does."""
    journal = FileJournal(Path(config.daemon.socket).with_suffix(".settings.json"))
    sysctl = HelpedSysctl(ProcSysctl(), HelperClient(config.daemon.helper_socket))
    return Router(
        netlink,
        NftFirewall(),
        sysctl,
        journal,
        conntrack=LinuxConntrack(),
        health=bus.publish,
        keep_guard=partial(keep_guard, FileStore(config.daemon.state_dir)),
    )


class NetworkWatch:
    """Ends the daemon when the inner network's process ends before it: without it nothing can be changed any more."""

    def __init__(self, network: InnerNetwork | None) -> None:
        self._network = network

    async def run(self) -> None:
        """Raises `NetworkLostError`."""
        if self._network is None:
            await asyncio.Event().wait()
            return
        await self._network.ended()
        text = "the process that holds the rootless network has ended"
        raise NetworkLostError(text, mend="start waypostd again; was it killed for lack of memory?")

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Raise the loss itself where a task group wrapped it: it is one line for a person."""
        try:
            yield
        except ExceptionGroup as group:
            lost = group.subgroup(NetworkLostError)
            if lost is None:
                raise
            raise lost.exceptions[0] from None
