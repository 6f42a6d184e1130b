"""Which protocols the router speaks: questions to it, repeated a little, and what came back (derp spec 10.2)."""

from __future__ import annotations

from collections.abc import Collection

from appliance.portmap.mapping import Kind, RouterPlace
from appliance.portmap.outbox import SendToRouter
from appliance.proto.portmap import natpmp, pcp, ssdp
from appliance.types.addresses import AddrPort

REPEAT_S = (0.0, 0.25, 0.75)
SEARCH_S = 1.25
"""After so long what answered is what there is; SSDP answers that come later still count."""


class RouterSearch:
    """One search. `done` when the time is over or every protocol asked for has answered."""

    def __init__(self, place: RouterPlace, kinds: Collection[Kind], now: float) -> None:
        self._place = place
        self._kinds = kinds
        self._sends = [now + delay for delay in REPEAT_S]
        self.ends_at = now + SEARCH_S
        self.seen: set[Kind] = set()
        self.unusable: set[Kind] = set()

    def next_timer(self) -> float:
        return self._sends[0] if self._sends else self.ends_at

    def done(self, now: float) -> bool:
        return now >= self.ends_at or not (set(self._kinds) - self.seen - self.unusable)

    def handle_timer(self, now: float) -> list[SendToRouter]:
        """Questions to protocols that have not answered yet."""
        if not self._sends or now < self._sends[0]:
            return []
        while self._sends and self._sends[0] <= now:
            self._sends.pop(0)
        router = AddrPort(str(self._place.router), natpmp.PORT)
        questions = []
        for kind in sorted(set(self._kinds) - self.seen - self.unusable):
            if kind is Kind.PCP:
                questions.append(SendToRouter(router, pcp.encode_announce(self._place.own)))
            elif kind is Kind.NAT_PMP:
                questions.append(SendToRouter(router, natpmp.encode_address_request()))
            else:
                questions.extend(self._upnp())
        return questions

    def _upnp(self) -> list[SendToRouter]:
        """To the router first, which opens stateful firewalls for its answer; some list one device for ssdp:all."""
        everything = ssdp.encode_search(ssdp.ALL)
        return [
            SendToRouter(AddrPort(str(self._place.router), ssdp.PORT), everything),
            SendToRouter(ssdp.GROUP, everything),
            SendToRouter(ssdp.GROUP, ssdp.encode_search(ssdp.GATEWAY_DEVICE)),
        ]
