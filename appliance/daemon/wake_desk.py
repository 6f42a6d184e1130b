"""Wakes hosts of this site's networks, for people here, peers and control; and asks other gateways to wake theirs.

One bound for all who ask: a magic packet is a broadcast, and each host of the network gets it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

from appliance.daemon.parts import Lan
from appliance.daemon.peer_lookup import NotConnectedError, find_peer
from appliance.drivers.lan_datagrams import send_broadcast
from appliance.netmap.store import NetmapView
from appliance.peerapi.wake import ask_to_wake
from appliance.ports.clock import Clock
from appliance.ports.streams import StreamDialer
from appliance.proto.peerapi.location import peer_endpoint
from appliance.proto.wake_on_lan import PORT, magic_packet
from appliance.types.errors import ApplianceError, ConfigError, DecodeError
from appliance.types.token_bucket import TokenBucket
from appliance.types.wake import WakeReport

BURST = 16
PER_SECOND = 1.0

Send = Callable[[str, str, int, bytes], None]


class TooManyWakesError(ApplianceError):
    code = "wake-rate"


class WakeDesk:
    """`lans` are the attached networks; `send` puts a datagram on one: interface, source address, port, data."""

    def __init__(
        self,
        lans: Callable[[], Sequence[Lan]],
        view: Callable[[], NetmapView | None],
        dialer: StreamDialer,
        clock: Clock,
        send: Send = send_broadcast,
    ) -> None:
        self._lans = lans
        self._view = view
        self._dialer = dialer
        self._clock = clock
        self._send = send
        self._bound = TokenBucket(PER_SECOND, BURST)

    async def wake(self, mac: str, interface: str = "", via: str = "") -> WakeReport:
        """`via` names the gateway at whose site the host is, "": here. Raises `ApplianceError`."""
        if not via:
            return self.here(mac, interface)
        checked_packet(mac)
        view = self._view()
        if view is None or view.self_node is None:
            raise NotConnectedError
        peer = find_peer(view, via)
        endpoint = peer_endpoint(view.self_node, peer)
        if endpoint is None:
            raise ApplianceError(f"{peer.short_name} has no peer API", mend="is it a gateway, and online?", code="wake")
        return await ask_to_wake(self._dialer, endpoint, mac, interface)

    def here(self, mac: str, interface: str = "") -> WakeReport:
        """Once on each attached network, or on that of `interface` only. Raises `ApplianceError`."""
        packet = checked_packet(mac)
        places = {lan.interface: lan for lan in sorted(self._lans(), key=lambda lan: ":" not in lan.address)}
        if interface and interface not in places:
            mend = f"attached are: {', '.join(sorted(places)) or 'none'}"
            raise ConfigError(f"no network is attached by {interface[:32]!r}", mend=mend, code="wake")
        if not places:
            raise ApplianceError("no network is attached to this gateway", mend="see: ip address", code="wake")
        if not self._bound.take(self._clock.now()):
            raise TooManyWakesError("too many hosts were woken just now", mend="try again in a few seconds")
        sent: list[str] = []
        errors: list[str] = []
        for name in [interface] if interface else sorted(places):
            try:
                if not places[name].up:
                    raise OSError(errno.ENETDOWN, "no link")
                self._send(name, places[name].address, PORT, packet)
            except OSError as error:
                errors.append(f"{name}: {error.strerror or error}")
            else:
                sent.append(name)
        return WakeReport(tuple(sent), tuple(errors))


def checked_packet(mac: str) -> bytes:
    """Raises `ConfigError`."""
    try:
        return magic_packet(mac)
    except DecodeError as error:
        mend = "write the host's hardware address like 00:1a:2b:3c:4d:5e"
        raise ConfigError(f"{mac[:32]!r} is {error.text.partition(': ')[2]}", mend=mend, code="bad-mac") from None
