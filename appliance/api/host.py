"""`HostHandle`: the core as a plugin sees it, and `Service`, the plugin's long work as the core sees it.

All methods are async and take and give plain values, so that a plugin runs unchanged inside `waypostd` or in
`waypost-apps`. What belongs to one plugin (health codes, store keys, log lines) is kept apart by the core: none can
reach another's. Hooks are synchronous and cannot await: a hook keeps the handle, a service uses it.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Protocol, runtime_checkable

from appliance.api.dns import DnsAnswer, DnsAnswers, ResolverWish
from appliance.api.values import (
    AttachedPrefix,
    Finding,
    GatewayStatus,
    HealthItem,
    HostFacts,
    JsonValue,
    ListenPlace,
    LogLevel,
    Neighbour,
    NetmapSnapshot,
    NodeInfo,
    PacketDevice,
    PluginPanel,
    RefreshKind,
    SettingField,
    SettingProblem,
    StatusChange,
    WakeReport,
)
from appliance.ports.exit_datagrams import ExitDatagrams
from appliance.ports.kernel_relay import KernelRelay
from appliance.ports.netlink import QueueTraffic
from appliance.ports.packets import TunPort, UdpPort

MAX_STORE_KEY = 128
MAX_STORE_VALUE = 256 * 1024


class HostHandle(Protocol):
    """One per plugin."""

    @property
    def plugin(self) -> str:
        """Name of the plugin that holds this handle."""
        ...

    # --- netmap and host

    async def netmap(self) -> NetmapSnapshot:
        """Everything this node sees. As large as the mesh: for start-up, not for every change."""
        ...

    async def node(self, stable_id: str) -> NodeInfo | None:
        """One peer or this node; None when it is not in the netmap."""
        ...

    async def whois(self, address: str) -> NodeInfo | None:
        """Whose overlay address this is; None: nobody's, so that traffic from it did not come through the mesh."""
        ...

    async def capability(self, name: str) -> tuple[JsonValue, ...]:
        """Values that the policy gives this node under a capability's name; none where it does not have it."""
        ...

    async def attached_prefixes(self) -> tuple[AttachedPrefix, ...]:
        """Prefixes of the host's own interfaces, without the tunnel, loopback and link-local."""
        ...

    async def facts(self) -> HostFacts: ...

    async def reach(self, address: str, timeout_s: float) -> float | None:
        """Seconds until a host outside the mesh answered an ICMP echo, None when it did not in time (right `probe`).

        Asked past the tunnel, by the host's own routes, twice or once a second. `timeout_s` is at most 10.
        """
        ...

    async def hold_address(self, address: str, interface: str, seconds: int) -> None:
        """Let this host hold one more address on an interface of its own for so long, and tell the LAN.

        It is an address of a network there, or a link-local IPv6 one, and answers at once. Call it again before the
        time is over; the address goes by itself when nobody does (right `addresses`). Raises `ApplianceError`.
        """
        ...

    async def drop_address(self, address: str, interface: str) -> None:
        """Give such an address up now. Unknown ones are ignored. Raises `ApplianceError`."""
        ...

    async def wake(self, mac: str, interface: str = "", via: str = "") -> WakeReport:
        """Wake a host by Wake-on-LAN: one magic packet on each attached network, or on that of `interface` (right
        `lan`).

        `via` names the gateway at whose site the host is, by name or address; "": here. Raises `ApplianceError`, code
        `wake-rate` where too many were woken just now.
        """
        ...

    async def neighbours(self) -> tuple[Neighbour, ...]:
        """IPv4 hosts of attached networks whose hardware address this host knows now (right `lan`)."""
        ...

    async def join_group(self, interface: str, group: str, port: int) -> socket.socket:
        """A non-blocking UDP socket that hears and speaks on a link-local multicast group of one attached network
        (right `lan`); the caller closes it.

        It shares the port with other programs of the host; what it sends leaves with TTL 255 and comes back to
        itself, too. Raises `ApplianceError`.
        """
        ...

    async def examine(self) -> tuple[Finding, ...]:
        """Have this gateway's network looked at (right `status`); takes a few seconds."""
        ...

    async def granted(self, stable_id: str) -> tuple[str, ...]:
        """Names of the application capabilities that the policy grants this peer toward this node; none for others."""
        ...

    async def shape_traffic(self) -> Mapping[str, QueueTraffic]:
        """What each traffic shape did since it holds, by name, all in one reading of the kernel; a shape that holds
        nothing now is not named. Figures begin anew when names or rates change. Raises `ApplianceError`."""
        ...

    # --- outside the tunnel (right `underlay`)

    async def open_udp(self, port: int) -> tuple[UdpPort, ...]:
        """UDP ports outside the tunnel, one per IP version, on one number (0: any); the caller closes them.

        What they send never goes through the tunnel. Raises `ApplianceError`, code `port_taken` where it is in use,
        and for a plugin in a process of its own.
        """
        ...

    async def relay_in_kernel(self, port: int) -> KernelRelay:
        """Have the kernel forward relayed datagrams of UDP `port`, one that `open_udp` gave; the caller closes it.

        Raises `ApplianceError`, whose text says why, where the kernel does not, and for a plugin in a process of its
        own.
        """
        ...

    async def underlay_addresses(self) -> tuple[str, ...]:
        """IP addresses of this host's interfaces at which others may reach it."""
        ...

    async def stun_servers(self) -> tuple[str, ...]:
        """STUN servers of the mesh as "ip:port", nearest region first; a name that does not resolve is left out."""
        ...

    # --- packets (right `packets`)

    async def open_device(self, device: PacketDevice) -> TunPort:
        """A network device of the plugin's own, with its routes; it vanishes when the caller closes it.

        The host's offloads are on: packets may be super-packets. Raises `ApplianceError`, code `device-taken` where
        the name is in use, and for a plugin in a process of its own.
        """
        ...

    async def take_datagrams(self) -> ExitDatagrams:
        """UDP of those who use this exit, where `EgressUplink.udp_port` names its port; the caller closes it.

        Raises `ApplianceError`, also for a plugin in a process of its own.
        """
        ...

    # --- asking the core to act

    async def request_refresh(self, kind: RefreshKind, reason: str) -> None:
        """Have the named contributions asked for anew soon; several requests may end in one."""
        ...

    async def request_router_refresh(self, reason: str) -> None:
        """Short for `request_refresh(RefreshKind.ROUTER, reason)`."""
        ...

    # --- listeners (right `listen`)

    async def listen(self, place: ListenPlace) -> socket.socket:
        """A bound, non-blocking socket, of TCP also listening; the caller owns and closes it.

        Raises `ApplianceError`: code `not-connected` where the node has no such overlay address now (follow
        `changes`, then try again), `listen-taken` where the port is in use; the text names the plugin that has it.
        """
        ...

    # --- the host's resolver (right `resolver`)

    async def set_resolver(self, wish: ResolverWish) -> None:
        """Have the host's programs use these nameservers, or put back what was, through the root helper.

        Putting back is harmless where nothing was set. Raises `ApplianceError`, code `helper-away` where no helper
        runs.
        """
        ...

    async def exit_resolver(self) -> str:
        """URL at which the exit that is in use looks names up; "" while none is, or where it does not."""
        ...

    async def site_shielded(self) -> bool:
        """Whether what hosts behind this one ask may leave through the tunnel only, while this host's own packets leave
        directly: then nobody outside the mesh is asked for them."""
        ...

    async def report_answer(self, answer: DnsAnswer) -> None:
        """Tell what a resolver said, for plugins that may see it."""
        ...

    # --- names (right `answers`)

    async def wait_answers(self, after: int) -> DnsAnswers:
        """What names resolved to after number `after`; -1 waits for the next. A slow reader loses the oldest."""
        ...

    # --- the gateway as people see it (right `status`)

    async def status(self, *, peers: bool = True) -> GatewayStatus:
        """A snapshot. Without `peers` it costs the same in every mesh."""
        ...

    async def panels(self) -> tuple[PluginPanel, ...]:
        """Every plugin's panel, in load order."""
        ...

    async def wait_change(self, after: int) -> StatusChange:
        """Wait for a change later than number `after`; -1 answers at once. `changes` is the easier form."""
        ...

    def changes(self, *, pause_s: float = 0.25) -> AsyncIterator[StatusChange]:
        """One item at once, then one after each change of the status, changes in quick succession as one."""
        ...

    async def act(self, plugin: str, label: str) -> None:
        """Press the button `label` of a plugin's panel as it is now (right `act`). Raises `ApplianceError`.

        A change of settings is on trial: it goes back after a minute unless `confirm` comes before.
        """
        ...

    async def setting_fields(self, plugin: str) -> tuple[SettingField, ...]:
        """A plugin's settings as they hold now, for a form (right `act`); none where it does not run."""
        ...

    async def change_settings(self, plugin: str, settings: Mapping[str, JsonValue]) -> tuple[SettingProblem, ...]:
        """Change a plugin's settings as `waypost set` does (right `act`); None puts one back to the file's or its
        default. Raises `ApplianceError`.

        What comes back is why they were refused, and then nothing changed. Otherwise they are on trial, as with `act`.
        """
        ...

    async def confirm(self) -> None:
        """Keep the settings that are on trial (right `act`). Raises `ApplianceError`, code `nothing-to-confirm`."""
        ...

    # --- health and logs

    async def set_health(self, item: HealthItem) -> None:
        """Raise or replace the health item of that code; it stays until cleared."""
        ...

    async def clear_health(self, code: str) -> None:
        """Unknown codes are ignored."""
        ...

    async def log(self, level: LogLevel, event: str, fields: Mapping[str, JsonValue] | None = None) -> None:
        """One structured line. Never put secrets in."""
        ...

    # --- settings and store

    async def config(self) -> Mapping[str, JsonValue]:
        """The plugin's effective table: file, then runtime preferences; without `enabled`."""
        ...

    async def store_get(self, name: str) -> bytes | None: ...

    async def store_put(self, name: str, value: bytes) -> None:
        """Keep a value over restarts; atomic. Raises `StateError` (too long, disk). Writes are coalesced."""
        ...

    async def store_delete(self, name: str) -> None: ...

    # --- time

    async def now(self) -> float:
        """Monotonic seconds."""
        ...

    async def wall_now(self) -> datetime:
        """UTC; may jump."""
        ...

    async def sleep(self, seconds: float) -> None:
        """The only way to wait: tests run it on a virtual clock."""
        ...


@runtime_checkable
class Service(Protocol):
    """Long work of a plugin, made by `appliance_start`.

    `run` is cancelled to stop it. When it returns, the work is done; when it raises, it is called again after a
    back-off, and the plugin is shown as degraded until then.
    """

    @property
    def name(self) -> str:
        """Unique within the plugin."""
        ...

    async def run(self) -> None: ...
