"""`Gateway`: the backend's state machine. Stopped, needs login, starting, running; logins, settings, and who is told.

A login is tried beside what runs: only when control has accepted it are keys and preferences stored and the old
session left. A login that fails changes nothing (design.md 2, row 12).
"""

from __future__ import annotations

import asyncio
import pwd
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog

from appliance.api.values import RefreshKind
from appliance.crypto.x25519 import public_key
from appliance.daemon.applier import ChangeApplier, Situation
from appliance.daemon.history import History
from appliance.daemon.hostinfo import host_facts, make_hostinfo
from appliance.daemon.parts import Core, RuleRemoved
from appliance.daemon.preferences import effective_tables, patched, view_of
from appliance.daemon.queries import Queries
from appliance.daemon.status import Progress, StatusBuilder
from appliance.localapi.schema import (
    ErrorReply,
    EventLine,
    NetcheckReport,
    PingReply,
    PingRequest,
    PrefsPatch,
    PrefsView,
    Status,
    UpReply,
    UpRequest,
    VersionReply,
)
from appliance.magicsock.status import NetInfo, NetInfoChanged
from appliance.netmap.address import parse_control_url
from appliance.netmap.client import ControlClient, ControlSettings
from appliance.netmap.login import NodeKeys, VisitUrl
from appliance.pluginhost.host import PluginHost
from appliance.proto.control import messages as wire
from appliance.state.profiles import Prefs, StoredKeys
from appliance.types.errors import ConfigError, ControlError
from appliance.types.events import (
    BackendState,
    BackendStateChanged,
    EndpointsChanged,
    LinkChanged,
    NetmapChanged,
)

log = structlog.get_logger("gateway")


class Gateway:
    """Implements `LocalBackend`. `run` works until cancelled; the parts are started by the wiring."""

    def __init__(
        self,
        core: Core,
        plugins: PluginHost,
        applier: ChangeApplier,
        situation: Situation,
        history: History,
        prefs: Prefs,
        keys: StoredKeys | None,
    ) -> None:
        self._core = core
        self._plugins = plugins
        self._applier = applier
        self._situation = situation
        self._history = history
        self._prefs = prefs
        self._keys = keys
        self._machine_key = core.profiles.machine_key()
        self._facts = host_facts(public_key(self._machine_key))
        self._statuses = StatusBuilder(core, plugins, applier)
        self._queries = Queries(core, situation)
        self._client: ControlClient | None = None
        self._running: asyncio.Task[None] | None = None
        self._login: asyncio.Task[None] | None = None
        self._login_url = ""
        self._login_error: ErrorReply | None = None
        self._spare_key = ""
        self._group: asyncio.TaskGroup | None = None
        self._changing = asyncio.Lock()
        self._started = asyncio.Event()
        self._closing = asyncio.Event()
        situation.prefs = prefs

    # --- life

    def subscribe_to_bus(self) -> None:
        bus = self._core.bus
        bus.subscribe(NetmapChanged, lambda event: self._applier.netmap_changed(event.diff))
        bus.subscribe(EndpointsChanged, lambda _event: self._tell_endpoints())
        bus.subscribe(NetInfoChanged, lambda event: self._tell_net_info(event.net_info))
        bus.subscribe(LinkChanged, self._link_changed)
        bus.subscribe(BackendStateChanged, self._state_changed)
        bus.subscribe(RuleRemoved, lambda _event: self._applier.repair(soon=True))

    async def run(self) -> None:
        """Resume what the preferences say; then serve until `stop`."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._started.set()
            if self._prefs.want_running and self._keys is not None:
                await self._start_client(self._make_client(self._keys.control_url, self._prefs, self._keys))
            await self._closing.wait()
            if self._login is not None:
                self._login.cancel()
            await self._stop_client()

    def stop(self) -> None:
        self._closing.set()

    # --- what the local API reads

    def status(self, *, peers: bool = True) -> Status:
        return self._statuses.build(self._progress(), self._situation.view, peers=peers)

    def version(self) -> VersionReply:
        return self._queries.version()

    def prefs(self) -> PrefsView:
        return view_of(self._prefs, self._control_url())

    def operator_uid(self) -> int | None:
        return _uid_of(self._prefs.operator)

    def netmap(self) -> dict[str, Any]:
        return self._queries.netmap()

    def recent_events(self) -> Sequence[EventLine]:
        return self._history.recent()

    def subscribe(self, callback: Callable[[EventLine], None]) -> Callable[[], None]:
        return self._history.subscribe(callback)

    async def ping(self, request: PingRequest) -> PingReply:
        return await self._queries.ping(request)

    async def netcheck(self) -> NetcheckReport:
        return await self._queries.netcheck()

    # --- commands

    async def up(self, request: UpRequest) -> UpReply:
        """Start with the stored login, or begin a login beside what runs."""
        await self._started.wait()
        async with self._changing:
            url = request.control_url or self._control_url()
            parse_control_url(url)
            prefs = self._checked(patched(self._prefs, request.prefs))
            await self._plugins.apply_tables(effective_tables(self._core.config.plugins, prefs))
            await self._end_login()
            self._login_error = None
            if request.force_login or not self._has_login_for(url):
                new_key = request.force_login or self._is_login_lost()
                self._begin_login(url, prefs, request.auth_key, new_key=new_key)
                return UpReply(login=True)
            assert self._keys is not None
            self._spare_key = request.auth_key
            self._save_prefs(msgspec.structs.replace(prefs, want_running=True, logged_out=False, control_url=url))
            if self._client is None:
                await self._start_client(self._make_client(url, self._prefs, self._keys))
            else:
                self._refresh_all()
            return UpReply(login=False)

    async def down(self) -> None:
        async with self._changing:
            self._save_prefs(msgspec.structs.replace(self._prefs, want_running=False))
            await self._leave()
            self._core.bus.publish(BackendStateChanged(BackendState.STOPPED, "waypost down"))

    async def logout(self) -> None:
        """Forget the login, also when control cannot be told."""
        async with self._changing:
            client = self._client
            if client is None and self._keys is not None:
                client = self._make_client(self._keys.control_url, self._prefs, self._keys)
            try:
                if client is not None:
                    await client.logout()
            finally:
                self._core.profile.keys.delete()
                self._keys = None
                self._save_prefs(msgspec.structs.replace(self._prefs, want_running=False, logged_out=True))
                await self._leave()
                if client is not None:
                    await client.close()
                self._core.bus.publish(BackendStateChanged(BackendState.NEEDS_LOGIN, "waypost logout"))

    async def set_prefs(self, patch: PrefsPatch) -> PrefsView:
        async with self._changing:
            prefs = self._checked(patched(self._prefs, patch))
            await self._plugins.apply_tables(effective_tables(self._core.config.plugins, prefs))
            self._save_prefs(prefs)
            self._refresh_all()
            return self.prefs()

    # --- logins

    def _has_login_for(self, url: str) -> bool:
        return self._keys is not None and self._keys.control_url == url and not self._is_login_lost()

    def _is_login_lost(self) -> bool:
        return self._client is not None and self._client.state is BackendState.NEEDS_LOGIN

    def _begin_login(self, url: str, prefs: Prefs, auth_key: str, *, new_key: bool) -> None:
        assert self._group is not None
        self._login_url = url
        self._login = self._group.create_task(self._log_in(url, prefs, auth_key, new_key), name="login")
        self._core.bus.publish(BackendStateChanged(BackendState.STARTING, f"logging in at {url}"))

    async def _log_in(self, url: str, prefs: Prefs, auth_key: str, new_key: bool) -> None:
        known = self._keys if self._keys is not None and self._keys.control_url == url else None
        wanted = msgspec.structs.replace(prefs, want_running=True, logged_out=False, control_url=url)
        client = self._make_client(url, wanted, known, is_login=True)
        try:
            outcome = await client.login(auth_key, new_key=new_key or (known is not None and not auth_key))
        except ControlError as error:
            await client.close()
            await self._login_failed(error)
            return
        except asyncio.CancelledError:
            await client.close()
            raise
        if isinstance(outcome, VisitUrl):
            log.info("a person must open the login page", url=outcome.url)
        await self._stop_client()
        self._login = None
        await self._start_client(client)

    async def _login_failed(self, error: ControlError) -> None:
        """Back to what was."""
        log.warning("login failed", error=error.text)
        self._login = None
        self._login_error = ErrorReply(code=error.code, text=error.text, mend=error.mend)
        try:
            await self._plugins.apply_tables(effective_tables(self._core.config.plugins, self._prefs))
        except ConfigError as problem:
            log.error("settings could not be put back", error=problem.text)
        self._core.bus.publish(BackendStateChanged(self._state(), error.text))

    async def _end_login(self) -> None:
        login, self._login = self._login, None
        if login is not None:
            login.cancel()
            await asyncio.gather(login, return_exceptions=True)

    def _keys_accepted(self, url: str, keys: NodeKeys, pending: list[Prefs]) -> None:
        """Control knows this node by these keys: from here on they are ours, before anything relies on them.

        `pending` holds the preferences that came with the login, until it was accepted once.
        """
        stored = StoredKeys(node_key=keys.private, old_node_key=keys.old, control_url=url)
        if stored != self._keys:
            self._core.profile.keys.save(stored)
            self._keys = stored
        if pending:
            self._save_prefs(pending.pop())
            self._refresh_all()
        self._applier.set_private_key(keys.private)

    # --- the control client

    def _make_client(
        self, url: str, prefs: Prefs, stored: StoredKeys | None, *, is_login: bool = False
    ) -> ControlClient:
        """`is_login`: `prefs` become the preferences once control has accepted the login."""
        known = None
        pending = [prefs] if is_login else []
        if stored is not None:
            known = NodeKeys(stored.node_key, public_key(stored.node_key), stored.old_node_key)
        settings = ControlSettings(
            url=url,
            machine_key=self._machine_key,
            make_keys=self._make_keys,
            save_keys=lambda keys: self._keys_accepted(url, keys, pending),
            ca_file=self._core.config.control.ca_file,
        )
        client = ControlClient(
            settings,
            dialer=self._core.dialer,
            clock=self._core.clock,
            randomness=self._core.randomness,
            bus=self._core.bus,
            keys=known,
            hostinfo=self._hostinfo(prefs),
        )
        magicsock = self._core.magicsock
        client.update(endpoints=magicsock.endpoints, disco_key=magicsock.disco_public_key)
        return client

    def _make_keys(self) -> NodeKeys:
        private = self._core.profiles.new_node_key()
        return NodeKeys(private, public_key(private))

    async def _start_client(self, client: ControlClient) -> None:
        assert self._group is not None
        self._client = client
        self._situation.view = client.netmap
        self._running = self._group.create_task(client.run(), name="control client")

    async def _stop_client(self) -> None:
        running, self._running = self._running, None
        self._client = None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _leave(self) -> None:
        """Off the mesh; the login stays."""
        await self._end_login()
        await self._stop_client()
        self._situation.view = None
        await self._applier.clear()

    # --- telling control

    def refresh_hostinfo(self) -> None:
        if self._client is not None:
            self._client.update(hostinfo=self._hostinfo(self._prefs))

    def _hostinfo(self, prefs: Prefs) -> wire.Hostinfo:
        hooks = self._plugins.hooks
        part, routes = hooks.contribute_hostinfo(), hooks.contribute_routes()
        net_info = _wire_net_info(self._core.magicsock.net_info())
        return make_hostinfo(self._facts, prefs, self._core.config.node.hostname, routes, part, net_info)

    def _tell_endpoints(self) -> None:
        if self._client is not None:
            self._client.update(endpoints=self._core.magicsock.endpoints)

    def _tell_net_info(self, net_info: NetInfo) -> None:
        if self._client is not None:
            self._client.update(net_info=_wire_net_info(net_info))

    def _link_changed(self, event: LinkChanged) -> None:
        log.info("the host's network changed", major=event.major, reason=event.reason)
        self._core.magicsock.link_changed(event.major)
        if event.major and self._client is not None:
            self._client.link_changed()
        self._applier.refresh(RefreshKind.ROUTER)
        self._applier.repair()

    def _state_changed(self, event: BackendStateChanged) -> None:
        log.info("state", state=str(event.state), reason=event.reason)
        lost = event.state is BackendState.NEEDS_LOGIN and self._prefs.want_running and self._login is None
        if lost and self._client is not None and not self._client.auth_url:
            self._login_lost(event.reason)

    def _login_lost(self, reason: str) -> None:
        """The stored login is not good any more: use the key that `waypost up` brought, or say what to do."""
        key, self._spare_key = self._spare_key, ""
        if key and self._group is not None:
            self._begin_login(self._control_url(), self._prefs, key, new_key=True)
            return
        text = f"this node must log in again: {reason or 'the control server does not know it'}"
        self._login_error = ErrorReply(code="needs-login", text=text, mend="run: waypost up --auth-key-file KEY")

    # --- state

    def _state(self) -> BackendState:
        if self._login is not None:
            return BackendState.STARTING
        if self._client is None:
            return BackendState.NEEDS_LOGIN if self._keys is None else BackendState.STOPPED
        state = self._client.state
        if state is BackendState.RUNNING and not self._applier.configured:
            return BackendState.STARTING
        return state

    def _progress(self) -> Progress:
        client = self._client
        connected = client is not None and client.is_connected
        return Progress(
            state=self._state(),
            waiting_for=self._waiting_for(connected),
            login_error=self._login_error,
            auth_url=client.auth_url if client is not None else "",
            control_url=self._login_url if self._login is not None else self._control_url(),
            connected=connected,
            node_key=str(public_key(self._keys.node_key)) if self._keys is not None else "",
            hostname=self._prefs.hostname or self._core.config.node.hostname or self._facts.hostname,
        )

    def _waiting_for(self, connected: bool) -> str:
        if self._login is not None:
            return f"logging in at {self._login_url}"
        if self._client is None:
            return ""
        if self._client.auth_url:
            return "waiting for somebody to open the login page"
        if self._client.state is BackendState.NEEDS_APPROVAL:
            return "waiting for an administrator to approve this device"
        if not connected:
            return f"connecting to {self._control_url()}"
        return "" if self._applier.configured else "setting up addresses, routes and filter"

    def _control_url(self) -> str:
        return self._prefs.control_url or self._core.config.control.url

    # --- preferences

    def _checked(self, prefs: Prefs) -> Prefs:
        if prefs.operator and _uid_of(prefs.operator) is None:
            raise ConfigError(f"there is no user {prefs.operator!r}", mend="give the name of a user of this machine")
        return prefs

    def _save_prefs(self, prefs: Prefs) -> None:
        if prefs != self._prefs:
            self._core.profile.prefs.save(prefs)
            self._prefs = self._situation.prefs = prefs

    def _refresh_all(self) -> None:
        for kind in RefreshKind:
            self._applier.refresh(kind)

    def summary(self) -> str:
        """One line for systemd."""
        state = self._state()
        waiting = self._waiting_for(self._client is not None and self._client.is_connected)
        peers = len(self._situation.view.peers) if self._situation.view is not None else 0
        return f"{state}: {waiting}" if waiting else f"{state}, {peers} peers"

    def poll(self) -> None:
        """Once a second: tell path finding whether control hears us."""
        self._core.magicsock.set_control_connected(self._client is not None and self._client.is_connected)


def _uid_of(user: str) -> int | None:
    if not user:
        return None
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _wire_net_info(info: NetInfo) -> wire.NetInfo:
    fields = {item.name for item in msgspec.structs.fields(wire.NetInfo)}
    shared = {name: getattr(info, name) for name in fields if hasattr(info, name)}
    return wire.NetInfo(**{**shared, "derp_latency": dict(info.derp_latency), "firewall_mode": "nft-forced"})
