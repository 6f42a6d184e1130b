"""The port mapper as a sans-IO machine: finds out what the router speaks, gets a mapping, keeps it, notices its loss.

Events in by method, actions out by `next_action()`. Order of protocols: PCP, NAT-PMP, UPnP; one that refuses or stays
silent gives way to the next. A mapping is renewed at half its lifetime, and at once when the router's epoch counter
shows that it restarted (derp spec 10.3, 10.6; RFC 6887 sections 8.5, 11.2.1).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection
from ipaddress import IPv4Address
from typing import assert_never

from appliance.portmap.epoch import EpochWatch
from appliance.portmap.igd_dialog import Dialogue, IgdResult, WebRequest, ask_for_mapping, forget_mapping
from appliance.portmap.mapping import WANTED_LIFETIME_S, Kind, Mapping, PortMapping, RouterPlace
from appliance.portmap.outbox import Action, FetchFromRouter, MappingChanged, SendToRouter
from appliance.portmap.requests import GIVE_UP_S, NO_ADDRESS, REPEAT_S, DatagramRequest, PcpRequest, PmpRequest, Wish
from appliance.portmap.search import RouterSearch
from appliance.ports.randomness import Randomness
from appliance.proto.portmap import natpmp, pcp, ssdp
from appliance.proto.portmap.igd import Service
from appliance.proto.portmap.web import Reply
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError

CHECK_S = 60.0
"""How often a router that speaks PCP or NAT-PMP is asked for its epoch."""
MISSED_CHECKS = 3
UPNP_RENEW_S = 600.0
"""UPnP has no epoch: asking again is how a restart is noticed."""
RETRY_S = 15.0
"""After a router had nothing for us; doubled each time up to `RETRY_MAX_S`."""
RETRY_MAX_S = 600.0
RENEW_RETRY_S = 15.0
RENEW_GAP_S = 5.0
"""Between two renewals, whatever somebody on the LAN pretends that the router said."""


class PortMapper:
    """All `now` are monotonic seconds. After each call drain `next_action()`, then ask `next_timer()`.

    `nonce_of` makes the secret of a mapping from where it is. One that gives the same after a restart lets a gateway
    that was killed have its old mapping again: a router refuses it to anybody else (RFC 6887 section 11.3).
    """

    def __init__(
        self,
        randomness: Randomness,
        kinds: Collection[Kind] = tuple(Kind),
        nonce_of: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._randomness = randomness
        self._nonce_of = nonce_of or (lambda _place: randomness.bytes(pcp.NONCE_SIZE))
        self._kinds = tuple(kind for kind in Kind if kind in kinds)
        self._actions: deque[Action] = deque()
        self._place: RouterPlace | None = None
        self._port = 0
        self._wanted = NO_ADDRESS
        self.counters: Counter[str] = Counter()
        self._tokens = 0
        self._result = PortMapping()
        self._forget()

    def _forget(self) -> None:
        """Nothing is known of any router."""
        self._search: RouterSearch | None = None
        self._seen: set[Kind] | None = None
        self._answers: list[ssdp.Answer] = []
        self._epochs = {Kind.PCP: EpochWatch(), Kind.NAT_PMP: EpochWatch()}
        self._nonce = b""
        self._service: Service | None = None
        self._mapping: Mapping | None = None
        self._error = ""
        self._left: list[Kind] = []
        self._refused: set[Kind] = set()
        self._failures = 0
        self._stop_attempt()
        self._search_at: float | None = None
        self._renew_at: float | None = None
        self._check_at: float | None = None
        self._missed = 0

    def _stop_attempt(self) -> None:
        self._request: DatagramRequest | None = None
        self._sends: list[float] = []
        self._gives_up_at = 0.0
        self._dialogue: Dialogue | None = None
        self._awaited = 0

    # What is known

    @property
    def result(self) -> PortMapping:
        return self._result

    @property
    def searching(self) -> bool:
        return self._search is not None

    def next_action(self) -> Action | None:
        return self._actions.popleft() if self._actions else None

    # Input

    def set_network(self, place: RouterPlace | None, port: int, now: float) -> None:
        """The router, our address toward it and our UDP port; None or 0: nothing is to be mapped."""
        if not port:
            place = None
        if place == self._place and (port == self._port or place is None):
            return
        self._release()
        if place is None or self._place is None or place.router != self._place.router:
            self._wanted = NO_ADDRESS
        self._place, self._port = place, port if place is not None else 0
        self._forget()
        if place is not None:
            self._start_search(now)
        self._tell()

    def probe(self, now: float) -> None:
        """Ask the router anew which protocols it speaks."""
        if self._place is not None and self._search is None:
            self._start_search(now)

    def receive_datagram(self, data: bytes, source: AddrPort, now: float, *, announced: bool = False) -> None:
        """From the router's own address only. `announced`: told to all hosts, as a router does after it restarted."""
        if self._place is None or source.ip != str(self._place.router):
            self.counters["portmap_stranger"] += 1
            return
        try:
            if source.port == natpmp.PORT:
                self._receive_reply(data, now, announced)
            else:
                self._receive_answer(ssdp.parse_answer(data), now)
        except DecodeError as error:
            self.counters[f"portmap_{error.reason}"] += 1

    def _receive_reply(self, data: bytes, now: float, announced: bool) -> None:
        if data[:1] == b"\x02":
            reply: pcp.Reply | natpmp.AddressReply | natpmp.MapReply = pcp.parse_reply(data)
            kind = Kind.PCP
        else:
            reply = natpmp.parse_reply(data)
            kind = Kind.NAT_PMP
        foreign_version = kind is Kind.NAT_PMP and reply.result == 1  # its answer to our question by PCP
        if kind not in self._kinds or foreign_version:
            return
        self._heard(kind, reply, now, announced)
        if self._request is not None and self._request.kind is kind:
            self._request.receive(reply, now)
            self._after_request(now)

    def _heard(
        self, kind: Kind, reply: pcp.Reply | natpmp.AddressReply | natpmp.MapReply, now: float, announced: bool
    ) -> None:
        """The router lives and speaks `kind`; its epoch may show that it restarted."""
        usable = reply.result not in _UNUSABLE if kind is Kind.PCP else not reply.result
        if self._mapping is not None and self._mapping.kind is kind:
            self._missed = 0
        moved = (
            isinstance(reply, natpmp.AddressReply)
            and reply.address is not None
            and self._mapping is not None
            and self._mapping.kind is kind
            and str(reply.address) != self._mapping.external.ip
        )
        restarted = not self._epochs[kind].heard(reply.epoch_s, now)
        if (restarted or moved or announced) and self._mapping is not None:
            self.counters["portmap_router_restarted"] += 1
            if self._mapping.kind is kind and self._request is None:
                self._renew_at = max(now, self._mapping.granted_at + RENEW_GAP_S)
        self._saw(kind, usable, now)

    def _saw(self, kind: Kind, usable: bool, now: float) -> None:
        search = self._search
        if search is not None:
            (search.seen if usable else search.unusable).add(kind)
            self._look_at_search(now)
        elif usable and self._seen is not None and kind not in self._seen:
            self._seen.add(kind)
            self._tell()
            if self._mapping is None and not self._busy:
                self._try([kind], now)

    def _receive_answer(self, answer: ssdp.Answer, now: float) -> None:
        if Kind.UPNP not in self._kinds:
            return
        if answer not in self._answers and len(self._answers) < ssdp.MAX_ANSWERS:
            self._answers.append(answer)
        self._saw(Kind.UPNP, usable=True, now=now)

    def receive_web(self, token: int, reply: Reply | None, now: float) -> None:
        """Answer to `FetchFromRouter`; None when there was none."""
        if self._dialogue is None or token != self._awaited:
            return
        try:
            self._ask_web(self._dialogue.send(reply))
        except StopIteration as stop:
            self._after_dialogue(stop.value, now)

    # Search

    def _start_search(self, now: float) -> None:
        assert self._place is not None
        self._search = RouterSearch(self._place, self._kinds, now)
        self._search_at = None
        self._answers.clear()
        self._refused.clear()
        self._actions.extend(self._search.handle_timer(now))

    def _look_at_search(self, now: float) -> None:
        """The best protocol need not wait for the others; when all is known, the rest of them have their turn."""
        search = self._search
        if search is None:
            return
        best = self._kinds[0]
        if search.done(now):
            self._search = None
            self._seen = set(search.seen)
            self._tell()
            if self._mapping is None:
                self._try_all(now)
        elif best in search.seen and self._mapping is None and not self._busy:
            self._try([best], now)

    def _try_all(self, now: float) -> None:
        """Whatever was seen and has not refused yet; what is being asked already comes first."""
        asked = self._asked
        seen = self._seen or set()
        if not seen:
            self._error = "the router answers neither by " + " nor by ".join(self._kinds)
        order = [kind for kind in self._kinds if kind in seen and kind not in self._refused and kind is not asked]
        if asked is None:
            self._try(order, now)
        else:
            self._left = order

    @property
    def _asked(self) -> Kind | None:
        """The protocol by which a mapping is being asked for."""
        if self._request is not None:
            return self._request.kind
        return Kind.UPNP if self._dialogue is not None else None

    @property
    def _busy(self) -> bool:
        return self._asked is not None

    # Attempts

    def _try(self, kinds: list[Kind], now: float) -> None:
        """Ask by the first of `kinds`; the others wait for its failure."""
        self._stop_attempt()
        if not kinds:
            self._failed(now)
            return
        kind, self._left = kinds[0], kinds[1:]
        wish = self._wish()
        if kind is Kind.PCP:
            self._start_request(PcpRequest(wish), now)
        elif kind is Kind.NAT_PMP:
            self._start_request(PmpRequest(wish), now)
        elif kind is Kind.UPNP:
            self._dialogue = ask_for_mapping(wish, ssdp.ranked(self._answers), self._service, self._randomness.below)
            try:
                self._ask_web(next(self._dialogue))
            except StopIteration as stop:
                self._after_dialogue(stop.value, now)
        else:
            assert_never(kind)

    def _wish(self) -> Wish:
        assert self._place is not None
        if not self._nonce:
            place = self._place.router.packed + self._place.own.packed + self._port.to_bytes(2, "big")
            self._nonce = self._nonce_of(place)[: pcp.NONCE_SIZE]
        return Wish(self._place, self._port, self._wanted, self._nonce)

    def _start_request(self, request: DatagramRequest, now: float) -> None:
        self._request = request
        self._sends = [now + delay for delay in REPEAT_S]
        self._gives_up_at = now + GIVE_UP_S
        self._repeat_request(now)

    def _repeat_request(self, now: float) -> None:
        assert self._place is not None
        assert self._request is not None
        while self._sends and self._sends[0] <= now:
            self._sends.pop(0)
        to = AddrPort(str(self._place.router), natpmp.PORT)
        self._actions.extend(SendToRouter(to, data) for data in self._request.requests())

    def _after_request(self, now: float) -> None:
        request = self._request
        if request is None:
            return
        if request.mapping is not None:
            self._granted(request.mapping, now)
        elif request.refused:
            self._attempt_failed(f"{request.kind}: {request.refused}", now)

    def _ask_web(self, request: WebRequest) -> None:
        self._tokens += 1
        self._awaited = self._tokens
        self._actions.append(FetchFromRouter(self._tokens, request.port, request.data))

    def _after_dialogue(self, result: IgdResult, now: float) -> None:
        if result.service is None:
            self._service = None
            self._attempt_failed(f"{Kind.UPNP}: {result.error}", now)
            return
        self._service = result.service
        self._granted(Mapping(Kind.UPNP, result.external, self._port, now, float(WANTED_LIFETIME_S)), now)

    def _granted(self, mapping: Mapping, now: float) -> None:
        self._stop_attempt()
        self._left = []
        self._mapping, self._wanted, self._error = mapping, mapping.external, ""
        self._missed = self._failures = 0
        upnp = mapping.kind is Kind.UPNP
        self._renew_at = now + (UPNP_RENEW_S if upnp else mapping.lifetime_s / 2)
        self._check_at = None if upnp else now + CHECK_S
        self._search_at = None
        self._tell()

    def _attempt_failed(self, error: str, now: float, *, silent: bool = False) -> None:
        self.counters["portmap_failed"] += 1
        self._error = error
        asked, kept = self._asked, self._mapping
        self._stop_attempt()
        if silent and kept is not None and now < kept.expires_at:
            # silence is no refusal: the mapping may well live, so it stays until checks or its end say otherwise
            self._renew_at = now + max(RENEW_RETRY_S, (kept.expires_at - now) / 4)
            return
        self._lose()
        if asked is not None:
            self._refused.add(asked)
        if self._search is None:
            self._try(self._left, now)

    def _lose(self) -> None:
        """The mapping is no more."""
        self._mapping = None
        self._renew_at = self._check_at = None
        self._tell()

    def _failed(self, now: float) -> None:
        """Nothing that the router speaks gave a mapping: look again later."""
        self._search_at = now + min(RETRY_S * 2**self._failures, RETRY_MAX_S)
        self._failures = min(self._failures + 1, 10)
        self._tell()

    # Keeping and giving up

    def _check(self, now: float) -> None:
        """Ask for the epoch; a router that stays silent is looked for anew."""
        assert self._place is not None
        assert self._mapping is not None
        self._missed += 1
        if self._missed > MISSED_CHECKS:
            self._lose()
            self._start_search(now)
            return
        self._check_at = now + CHECK_S
        pcp_mapping = self._mapping.kind is Kind.PCP
        question = pcp.encode_announce(self._place.own) if pcp_mapping else natpmp.encode_address_request()
        self._actions.append(SendToRouter(AddrPort(str(self._place.router), natpmp.PORT), question))

    def release(self, now: float) -> None:
        """Give the mapping back and ask for no more."""
        self.set_network(None, 0, now)

    def _release(self) -> None:
        """Tell the router of the present mapping that it is no longer needed."""
        mapping, place = self._mapping, self._place
        if mapping is None or place is None:
            return
        to = AddrPort(str(place.router), natpmp.PORT)
        if mapping.kind is Kind.PCP:
            data = pcp.encode_map(
                place.own,
                self._nonce,
                mapping.internal_port,
                0,
                external_port=mapping.external.port,
                external_address=IPv4Address(mapping.external.ip),
            )
            self._actions.append(SendToRouter(to, data))
        elif mapping.kind is Kind.NAT_PMP:
            self._actions.append(SendToRouter(to, natpmp.encode_map_request(mapping.internal_port, 0, 0)))
        elif self._service is not None:
            request = forget_mapping(self._wish(), self._service, mapping.external.port)
            self._tokens += 1
            self._actions.append(FetchFromRouter(self._tokens, request.port, request.data))

    def _tell(self) -> None:
        """Announce when what is known changed."""
        seen = frozenset(self._seen) if self._seen is not None else None
        result = PortMapping(self._mapping, seen, self._error if self._mapping is None else "")
        if result != self._result:
            self._result = result
            self._actions.append(MappingChanged())

    # Timers

    def next_timer(self) -> float | None:
        deadlines = [self._search_at]
        if self._search is not None:
            deadlines.append(self._search.next_timer())
        if self._request is not None:
            deadlines.append(self._sends[0] if self._sends else self._gives_up_at)
        elif self._dialogue is None:
            deadlines.extend((self._renew_at, self._check_at))
        if self._mapping is not None:
            deadlines.append(self._mapping.expires_at)
        return min((at for at in deadlines if at is not None), default=None)

    def handle_timer(self, now: float) -> None:
        if self._place is None:
            return
        if self._search is not None:
            self._actions.extend(self._search.handle_timer(now))
            self._look_at_search(now)
        if self._search_at is not None and now >= self._search_at:
            self._start_search(now)
        if self._request is not None:
            self._request_timer(self._request, now)
        if self._mapping is not None and now >= self._mapping.expires_at:
            self._lose()
            if not self._busy and self._search is None:
                self._start_search(now)
        if self._mapping is not None and not self._busy:
            self._keep(self._mapping, now)

    def _request_timer(self, request: DatagramRequest, now: float) -> None:
        if self._sends and now >= self._sends[0]:
            self._repeat_request(now)
        elif not self._sends and now >= self._gives_up_at:
            self._attempt_failed(f"{request.kind}: no answer", now, silent=True)

    def _keep(self, mapping: Mapping, now: float) -> None:
        if self._renew_at is not None and now >= self._renew_at:
            self._try([mapping.kind], now)
        elif self._check_at is not None and now >= self._check_at:
            self._check(now)


_UNUSABLE = frozenset((pcp.NOT_AUTHORIZED, pcp.ADDRESS_MISMATCH, pcp.UNSUPPORTED_VERSION))
