"""What the plugin knows: settings, the gateways of the chosen sites, where it listens, and the reflector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from appliance.api import AttachedPrefix, NetmapChange, NodeInfo
from plugins.mdns_reflector.config import MdnsReflectorConfig
from plugins.mdns_reflector.reflector import Reflector


@dataclass
class ReflectorState:
    config: MdnsReflectorConfig = field(default_factory=MdnsReflectorConfig)
    reflector: Reflector = field(default_factory=Reflector)
    peers: dict[str, NodeInfo] = field(default_factory=dict)
    """Of the chosen sites, by stable id."""
    site_of: dict[str, str] = field(default_factory=dict)
    """Overlay address to the site's name, of all addresses of these gateways."""
    in_mesh: bool = False
    """A netmap has come."""
    open_lans: tuple[str, ...] = ()
    """Where it hears and speaks now: interface and IP version."""
    listening: str = ""
    """The overlay address and port for other gateways."""
    problem: str = ""

    def configure(self, config: MdnsReflectorConfig) -> None:
        """The peers of other sites come with `take_peers`."""
        if config.services != self.config.services:
            counters, self.reflector = self.reflector.counters, Reflector(config.services)
            self.reflector.counters = counters
        self.config = config

    def netmap_changed(self, change: NetmapChange) -> None:
        self.in_mesh = self.in_mesh or change.full
        if change.full:
            self.peers.clear()
        for gone in change.removed:
            self.peers.pop(gone, None)
        self._note(change.changed)

    def take_peers(self, peers: Iterable[NodeInfo]) -> None:
        """All of them, after a change of settings."""
        self.peers.clear()
        self._note(peers)

    @property
    def is_wanted(self) -> bool:
        return bool(self.config.interfaces and self.config.sites and self.config.services)

    @property
    def missing_sites(self) -> tuple[str, ...]:
        """Settings that name no peer."""
        return tuple(site for site in self.config.sites if not any(_is(site, peer) for peer in self.peers.values()))

    def missing_lans(self, attached: Sequence[AttachedPrefix]) -> tuple[str, ...]:
        names = {lan.interface for lan in attached}
        return tuple(name for name in self.config.interfaces if name not in names)

    def targets(self, version: int) -> tuple[str, ...]:
        """Addresses of the sites' gateways, one for each."""
        found = (next((a for a in peer.addresses if (":" in a) == (version == 6)), "") for peer in self.peers.values())
        return tuple(address for address in found if address)

    def _note(self, peers: Iterable[NodeInfo]) -> None:
        for peer in peers:
            if any(_is(site, peer) for site in self.config.sites):
                self.peers[peer.stable_id] = peer
            else:
                self.peers.pop(peer.stable_id, None)
        before = set(self.site_of.values())
        self.site_of = {address: _short(peer) for peer in self.peers.values() for address in peer.addresses}
        self.reflector.forget(before - set(self.site_of.values()))


def _short(peer: NodeInfo) -> str:
    return peer.name.partition(".")[0] or peer.stable_id


def _is(site: str, peer: NodeInfo) -> bool:
    wanted = site.rstrip(".").lower()
    return wanted in (peer.name.lower(), _short(peer).lower(), peer.stable_id.lower(), *peer.addresses)
