"""Makes control clients: what all of them need, the present login's and one that is only tried out."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from appliance.crypto.x25519 import public_key
from appliance.daemon.hostinfo import host_facts, make_hostinfo
from appliance.daemon.mesh_services import MeshServices
from appliance.daemon.parts import Core
from appliance.magicsock.status import NetInfo
from appliance.netmap.client import ControlClient, ControlSettings
from appliance.netmap.login import NodeKeys
from appliance.netmap.store import NetmapStore
from appliance.pluginhost.host import PluginHost
from appliance.proto.control import messages as wire
from appliance.state.profiles import Prefs, StoredKeys


class ControlClients:
    def __init__(self, core: Core, plugins: PluginHost, mesh: MeshServices) -> None:
        self._core = core
        self._plugins = plugins
        self._mesh = mesh
        self._machine_key = core.profiles.machine_key()
        self._facts = host_facts(public_key(self._machine_key))

    @property
    def machine_name(self) -> str:
        return self._facts.hostname

    def make(
        self,
        url: str,
        prefs: Prefs,
        stored: StoredKeys | None,
        save_keys: Callable[[NodeKeys], None],
        store: NetmapStore | None = None,
    ) -> ControlClient:
        """`stored` None: a first login. `store`: what a client before it knew. Raises `BadControlUrl`."""
        known = None
        if stored is not None:
            known = NodeKeys(stored.node_key, public_key(stored.node_key), stored.old_node_key)
        settings = ControlSettings(
            url=url,
            machine_key=self._machine_key,
            make_keys=self._make_keys,
            save_keys=save_keys,
            ca_file=self.ca_file(prefs),
            c2n=self._mesh.c2n.by_path,
            peer_ping=self._mesh.pinger.answer_control,
        )
        client = ControlClient(
            settings,
            dialer=self._core.dialer,
            clock=self._core.clock,
            randomness=self._core.randomness,
            bus=self._core.bus,
            keys=known,
            hostinfo=self.hostinfo(prefs),
            store=store,
        )
        magicsock = self._core.magicsock
        client.update(endpoints=magicsock.endpoints, disco_key=magicsock.disco_public_key)
        return client

    def ca_file(self, prefs: Prefs) -> str:
        return prefs.ca_file or self._core.config.control.ca_file

    def hostinfo(self, prefs: Prefs) -> wire.Hostinfo:
        hooks = self._plugins.hooks
        part, routes = hooks.contribute_hostinfo(), hooks.contribute_routes()
        net_info = wire_net_info(self._core.magicsock.net_info())
        own = self._mesh.services()
        return make_hostinfo(self._facts, prefs, self._core.config.node.hostname, routes, part, net_info, own)

    def _make_keys(self) -> NodeKeys:
        private = self._core.profiles.new_node_key()
        return NodeKeys(private, public_key(private))


def wire_net_info(info: NetInfo) -> wire.NetInfo:
    """What path finding found out, as control is told."""
    fields = {item.name for item in msgspec.structs.fields(wire.NetInfo)}
    shared = {name: getattr(info, name) for name in fields if hasattr(info, name)}
    return wire.NetInfo(**{**shared, "derp_latency": dict(info.derp_latency), "firewall_mode": "nft-forced"})
