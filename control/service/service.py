"""`ControlService`: all operations of one tailnet, over one database.

Management operations hang in groups (`users`, `keys`, `nodes`, `routes`, `policies`) and take the `Actor` first; what
nodes do through the transports is `control.service.interface.NodeFacing`.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import structlog

from appliance.ports.clock import SystemClock
from appliance.ports.randomness import SystemRandomness
from appliance.types.errors import StateError
from control.policy.document import parse_policy
from control.service.actor import local_admin
from control.service.api_keys import ApiKeyOperations
from control.service.archive import DATABASE_FILE
from control.service.attributes import AttributeOperations
from control.service.audit import AuditOperations
from control.service.core import Core
from control.service.counters import Counters
from control.service.dns_names import DnsNames
from control.service.exits import ExitOperations
from control.service.id_tokens import KEY_FILE, IdTokens, load_token_key
from control.service.imports import ImportOperations, ImportReport
from control.service.keys import PreAuthKeyOperations
from control.service.logins import LoginOperations
from control.service.node_reports import NodeReports
from control.service.nodes import NodeOperations
from control.service.page_access import PageAccess
from control.service.pending import PendingLogins
from control.service.policies import PolicyOperations
from control.service.presence import Presence
from control.service.registration import Registrar
from control.service.requests import NodeRequestOperations
from control.service.router_probes import RouterProbes
from control.service.routes import RouteOperations
from control.service.settings import ServiceSettings
from control.service.ssh_checks import SshChecks
from control.service.takeovers import Takeovers
from control.service.updates import update_node
from control.service.users import UserOperations
from control.state.changes import Change, ChangeBus
from control.state.database import Database, open_database
from control.state.engines import database_url, sqlite_url
from control.state.identity import load_identity
from control.state.records import DEFAULT_TAILNET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from appliance.crypto.signing import TokenKey
    from appliance.ports.clock import Clock
    from appliance.ports.randomness import Randomness
    from appliance.proto.control.messages import Hostinfo, RegisterRequest, RegisterResponse
    from appliance.types.addresses import AddrPort
    from appliance.types.ids import NodeId
    from appliance.types.keys import DiscoPublicKey, MachinePublicKey, NodePublicKey
    from appliance.types.netmap import DerpMap
    from control.service.countries import Countries
    from control.service.headscale import HeadscaleTables
    from control.state.mesh import MeshView
    from control.state.records import NodeRecord

HURRY_S = 0.1
"""What nodes say of themselves within this time is written for the other processes at once."""
RETRY_S = 1.0

_log = structlog.get_logger(__name__)


class ControlService:
    """Open it with `open_service`, close it with `close`."""

    def __init__(self, core: Core, database: Database, token_key: TokenKey | None = None) -> None:
        self._core = core
        self._database = database
        self._presence = Presence(core)
        self._pending = PendingLogins(core.clock, core.randomness)
        self._registrar = Registrar(core, self._pending)
        self.counters = Counters()
        self.audit = AuditOperations(core)
        self.imports = ImportOperations(core)
        self.users = UserOperations(core)
        self.api_keys = ApiKeyOperations(core, self.users)
        self.keys = PreAuthKeyOperations(core, self.users)
        self.nodes = NodeOperations(core)
        self.ssh_checks = SshChecks(core)
        self.attributes = AttributeOperations(core, self.nodes, _countries(core.settings.country_file))
        self.requests = NodeRequestOperations(core, self.nodes)
        self.exits = ExitOperations(core, self.nodes, self.requests)
        self.logins = LoginOperations(core, self._pending, self._registrar, self.users)
        self.routes = RouteOperations(core, self.nodes)
        self.policies = PolicyOperations(core)
        self.page = PageAccess(core)
        self.dns_names = DnsNames(core, core.settings.set_dns_command)
        self.id_tokens = IdTokens(core, core.settings.token_audiences, token_key)
        self.reports = NodeReports(core)
        self.takeovers = Takeovers(core, self._presence, self.requests.channel)
        self.probes = RouterProbes(core, self._presence, self.requests.channel, self.takeovers)

    async def close(self) -> None:
        """Write what is still unwritten and close the database."""
        try:
            await self._core.flush()
        finally:
            await self._database.close()

    async def run(self) -> None:
        """Watch over routers, and work with the other processes of the mesh, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.probes.run())
            group.create_task(self.takeovers.run())
            if self._core.processes is None:
                return
            group.create_task(self._core.notices.run(self._core.processes.farewell))
            group.create_task(_repeat(self._core.news, 0.0, self._core.catch_up))
            group.create_task(_repeat(self._core.hurry, HURRY_S, self._core.flush))

    async def settle(self, node_key: NodePublicKey) -> None:
        """See `NodeFacing.settle`."""
        if self._core.processes is not None and self._core.model.node_by_key(node_key) is None:
            await self._core.catch_up()

    @property
    def processes(self) -> tuple[str, ...]:
        """Names of the other control processes that serve this mesh now."""
        return () if self._core.processes is None else self._core.processes.others

    def resume(self) -> None:
        """Go on where the process before us ended; not where other processes know who is online."""
        self._presence.resume()

    def expect_routers(self) -> None:
        """Go on where the process before us ended, if there was one and no other took over."""
        self._presence.expect_routers()

    def wall_now(self) -> datetime:
        return self._core.clock.wall_now()

    @property
    def policy_version(self) -> int:
        """Version of the policy in force; 0 = none."""
        return self._core.policy_record.version

    def set_derp_map(self, derp_map: DerpMap) -> None:
        """Another DERP map for everybody; the same one is no news."""
        if derp_map == self._core.model.derp_map:
            return
        self._core.model.set_derp_map(derp_map)
        self._core.show_everything()

    # NodeFacing

    async def register(
        self, machine_key: MachinePublicKey, request: RegisterRequest, remote_ip: str
    ) -> RegisterResponse:
        """See `NodeFacing.register`."""
        return await self._registrar.register(machine_key, request, remote_ip)

    def node_for(self, machine_key: MachinePublicKey, node_key: NodePublicKey) -> NodeRecord | None:
        """The node of this key if it belongs to this machine, else None."""
        node = self._core.model.node_by_key(node_key)
        return node if node is not None and node.machine_key == machine_key else None

    async def update_node(
        self,
        node_id: NodeId,
        *,
        hostinfo: Hostinfo | None = None,
        endpoints: Sequence[AddrPort] | None = None,
        endpoint_types: Sequence[int] | None = None,
        disco_key: DiscoPublicKey | None = None,
        capability_version: int = 0,
    ) -> None:
        """See `NodeFacing.update_node`."""
        await update_node(
            self._core,
            node_id,
            hostinfo=hostinfo,
            endpoints=endpoints,
            endpoint_types=endpoint_types,
            disco_key=disco_key,
            capability_version=capability_version,
        )

    async def seen_at(self, node: NodeRecord, address: str) -> None:
        """See `NodeFacing.seen_at`."""
        try:
            await self.attributes.seen_at(node, address)
        except StateError as error:
            _log.info("where a node is could not be written", node=node.given_name, error=error.text)

    def refresh_files(self) -> None:
        """Take up what was replaced beside the settings; call now and then, and when asked to."""
        if self.attributes.countries is not None:
            self.attributes.countries.refresh()

    def session_started(self, node_id: NodeId) -> None:
        """A map stream of the node opened."""
        self._presence.started(node_id)

    def session_ended(self, node_id: NodeId) -> None:
        """A map stream of the node closed."""
        self._presence.ended(node_id)

    def view(self) -> MeshView:
        """The live read model."""
        return self._core.model

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call `callback` after each change; returns the function that ends it."""
        return self._core.bus.subscribe(callback)

    def is_known(self, node_key: NodePublicKey) -> bool:
        """Whether the key belongs to a registered, unexpired node."""
        node = self._core.model.node_by_key(node_key)
        return node is not None and not node.is_expired(self.wall_now())

    async def sweep(self) -> None:
        """Time-driven work; call about once a second."""
        self._pending.sweep()
        self.ssh_checks.sweep()
        await self._presence.sweep()
        await self.attributes.sweep()


async def open_service(
    data_dir: Path, settings: ServiceSettings, *, clock: Clock, randomness: Randomness, database_text: str = ""
) -> ControlService:
    """Open the database of this URL ("" = a file in `data_dir`), bring it to the current form and load it.

    Raises `StateError` for the database, `PolicyError` for a stored policy that this version does not understand.
    """
    url = database_url(database_text) if database_text else sqlite_url(data_dir / DATABASE_FILE)
    database = await open_database(url)
    try:
        token_key = load_token_key(data_dir / KEY_FILE, randomness) if settings.token_audiences else None
        async with database.begin(DEFAULT_TAILNET) as tx:
            await tx.ensure_tailnet(settings.domain, clock.wall_now())
            record = await tx.policy()
        core = Core(
            database=database,
            tailnet_id=DEFAULT_TAILNET,
            settings=settings,
            clock=clock,
            randomness=randomness,
            policy=(record, parse_policy(record.text)),
            bus=ChangeBus(_report),
        )
        await core.load()
    except BaseException:
        await database.close()
        raise
    service = ControlService(core, database, token_key)
    if database.shared:
        service.expect_routers()
    else:
        service.resume()
    return service


async def import_headscale(
    data_dir: Path, database_text: str, domain: str, noise_key: Path | None, tables: HeadscaleTables
) -> ImportReport:
    """Into a server that does not run; makes its folder and keys. Raises `ApplianceError`."""
    clock, randomness = SystemClock(), SystemRandomness()
    load_identity(data_dir, randomness, noise_key)
    settings = ServiceSettings(domain=domain)
    service = await open_service(data_dir, settings, clock=clock, randomness=randomness, database_text=database_text)
    try:
        return await service.imports.headscale(local_admin(os.geteuid()), tables)
    finally:
        await service.close()


async def _repeat(event: asyncio.Event, wait_s: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work whenever the event is set, again after a pause while the database is away."""
    while True:
        await event.wait()
        await asyncio.sleep(wait_s)
        try:
            await work()
        except StateError as error:
            _log.info("the database is away, it is tried again", error=error.text)
            await asyncio.sleep(RETRY_S)


def _countries(file: Path | None) -> Countries | None:
    if file is None:
        return None
    from control.service.countries import Countries

    return Countries(file)


def _report(change: Change, error: Exception) -> None:
    _log.error("a subscriber failed on a change", revision=change.revision, error=repr(error))
