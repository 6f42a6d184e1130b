"""Tells peers that the packet filter refused their TCP connection, so that their programs need not wait in vain (TSMP).

Only where the kernel can show what it drops; elsewhere refused packets vanish silently, as before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from appliance.netmap.store import NetmapView
from appliance.ports.refused import REFUSED_GROUP, RefusedPort
from appliance.ports.tsmp import TsmpPort
from appliance.proto.tsmp import RejectReason, encode_packet, refusal
from appliance.types.errors import DecodeError

log = structlog.get_logger("waypostd")


class RefusalDesk:
    """`can_log` is the router's; `open_port` takes the group of refused packets.

    `group` is 0 until `start` found that both work.
    """

    def __init__(
        self,
        port: TsmpPort,
        can_log: Callable[[int], Awaitable[bool]],
        view: Callable[[], NetmapView | None],
        shields_up: Callable[[], bool],
        open_port: Callable[[int], RefusedPort],
    ) -> None:
        self._port = port
        self._can_log = can_log
        self._view = view
        self._shields_up = shields_up
        self._open_port = open_port
        self._refused: RefusedPort | None = None
        self._tried = False
        self.counters: Counter[str] = Counter()

    @property
    def group(self) -> int:
        return REFUSED_GROUP if self._refused is not None else 0

    async def start(self) -> None:
        """Once; whether it works shows in `group`."""
        if self._tried:
            return
        self._tried = True
        if not await self._can_log(REFUSED_GROUP):
            log.info("peers are not told of refused connections", because="nftables cannot log here")
            return
        try:
            self._refused = self._open_port(REFUSED_GROUP)
        except OSError as error:
            log.info("peers are not told of refused connections", because=str(error))
            return
        self._refused.set_reader(self._readable)

    def close(self) -> None:
        if self._refused is not None:
            self._refused.close()
            self._refused = None

    def _readable(self) -> None:
        if self._refused is not None:
            for head in self._refused.receive():
                self._answer(head)

    def _answer(self, head: bytes) -> None:
        reason = RejectReason.SHIELDS_UP if self._shields_up() else RejectReason.ACL
        try:
            answer = refusal(head, reason)
        except DecodeError as error:
            self.counters[f"refused_{error.reason}"] += 1
            return
        view = self._view()
        peer = view.peer_by_address(answer.destination) if view is not None else None
        if peer is None or peer.wireguard_only:
            self.counters["refused_no_peer"] += 1
            return
        self.counters["refusals_told"] += 1
        self._port.send_packet(peer.key, encode_packet(answer))
