"""Whom people mean by a name or an address."""

from __future__ import annotations

from ipaddress import ip_address

from appliance.netmap.store import NetmapView
from appliance.types.errors import ApplianceError
from appliance.types.netmap import Node


class NotConnectedError(ApplianceError):
    """There is no netmap to look in."""

    code = "not-connected"

    def __init__(self) -> None:
        super().__init__("this gateway is not connected to a mesh", mend="run: waypost up")


class NoSuchPeerError(ApplianceError):
    code = "no-such-peer"


def find_peer(view: NetmapView, target: str) -> Node:
    """By overlay address, FQDN or its first label. Raises `NoSuchPeerError`."""
    found: Node | None = None
    try:
        found = view.peer_by_address(ip_address(target))
    except ValueError:
        wanted = target.rstrip(".").lower()
        for node in view.peers.values():
            name = node.name.rstrip(".").lower()
            if wanted in (name, name.partition(".")[0]):
                found = node
                break
    if found is not None:
        return found
    own = view.self_node
    if own is not None and target in (own.short_name, own.name, *(str(p.network_address) for p in own.addresses)):
        raise NoSuchPeerError(f"{target} is this gateway itself", mend="ping one of its peers")
    raise NoSuchPeerError(f"no peer is named {target}", mend="waypost status lists them")
