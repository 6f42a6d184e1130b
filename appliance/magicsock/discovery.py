"""Looking for a direct path to one peer: which addresses are known, and when each is pinged (magicsock-disco spec 3.5).

What answers is proven elsewhere (`belief`).
"""

from __future__ import annotations

from appliance.magicsock.belief import Belief
from appliance.magicsock.candidates import Candidate, CandidateTable
from appliance.magicsock.context import PathContext
from appliance.magicsock.loss import Survey
from appliance.magicsock.pings import Pings, SentPing
from appliance.magicsock.scoring import ProvenPath
from appliance.magicsock.search import Search
from appliance.magicsock.timing import (
    DISCOVERY_INTERVAL,
    GOOD_ENOUGH_LATENCY,
    MAX_CALL_ME_MAYBE_ENDPOINTS,
    NEVER,
    SLACK,
    UPGRADE_INTERVAL,
)
from appliance.proto.disco import CallMeMaybe
from appliance.types.addresses import AddrPort
from appliance.types.ids import NO_REGION, RegionId
from appliance.types.netmap import Node


class Discovery:
    """`reverse_region`: from where the peer's own packets come by DERP, 0 = none known."""

    def __init__(self, node: Node, context: PathContext, belief: Belief) -> None:
        self.node = node
        self.candidates = CandidateTable()
        self.pings = Pings(context)
        self.search = Search()
        self.survey = Survey()
        self.reverse_region: RegionId = NO_REGION
        self._context = context
        self._outbox = context.outbox
        self._belief = belief
        self._last_full_ping = NEVER
        self._last_call_me_maybe = NEVER

    @property
    def usable(self) -> bool:
        """Whether disco can be spoken with the peer."""
        return self.node.disco_key is not None and not self.node.expired

    @property
    def relay_region(self) -> RegionId:
        """The region by which the peer is reached, 0 = none known."""
        return self.node.home_derp or self.reverse_region

    # Addresses

    def take_netmap_endpoints(self, now: float) -> bool:
        """Whether there was a new one among them."""
        return self.candidates.set_netmap(list(filter(self._context.acceptable, self.node.endpoints)), now)

    def learn(self, address: AddrPort, now: float) -> Candidate | None:
        """The candidate of the address, made when new; None when there are too many."""
        best = self._belief.best
        candidate = self.candidates.add(address, now, best.addr_port if best is not None else None)
        if candidate is None:
            self._outbox.count("candidate_no_room")
        return candidate

    def take_call_me_maybe(self, message: CallMeMaybe, now: float) -> None:
        """The peer's own list: earlier entries that it lacks are gone (3.6)."""
        for endpoint in message.endpoints[:MAX_CALL_ME_MAYBE_ENDPOINTS]:
            if self._context.acceptable(endpoint):
                candidate = self.learn(endpoint, now)
                if candidate is None:
                    break
                candidate.call_me_maybe_at = now
        for candidate in self.candidates:
            if candidate.call_me_maybe_at not in (NEVER, now):
                self._drop(candidate.addr_port)

    def forget(self) -> None:
        """Nothing that was measured holds any more."""
        self.pings.clear()
        self._last_call_me_maybe = NEVER
        for candidate in self.candidates:
            candidate.clear_history()

    def _drop(self, address: AddrPort) -> None:
        self.candidates.remove(address)
        if self._belief.is_direct(address):
            self._belief.set(None)

    # Pings

    def ping(self, to: AddrPort, now: float, token: int | None = None) -> None:
        self.pings.send(self.node, SentPing(b"", to, now, token, counted=self.candidates.answers(to, now)))

    def ping_path(self, path: ProvenPath, now: float, token: int | None = None) -> None:
        """Along the path itself, through its relay where it has one."""
        counted = path.direct and self.candidates.answers(path.addr_port, now)
        self.pings.send(self.node, SentPing(b"", path.addr_port, now, token, path.vni, counted, path.socket))

    def ask_sizes(self, path: ProvenPath, now: float) -> None:
        """Padded pings that show how large packets may be, when it is time for them (3.10)."""
        candidate = self.candidates.get(path.addr_port)
        if not self._context.asks_sizes or not path.direct or path.socket or candidate is None:
            return
        for size in candidate.mtu.due(now):
            self.pings.send(self.node, SentPing(b"", path.addr_port, now, size=size))

    def probe(self, to: AddrPort, now: float, socket: int = 0) -> None:
        """Ping a guessed address, or from a side socket (hard NATs, 4.3)."""
        if self.usable and self._context.acceptable(to):
            self.pings.send(self.node, SentPing(b"", to, now, socket=socket, probe=True))

    def ping_everything(self, token: int, now: float) -> None:
        """For a person, while no path is proven."""
        if self.relay_region:
            self.pings.send_by_derp(self.node, now, token)
        for candidate in self.candidates:
            self.ping(candidate.addr_port, now, token)

    # Rounds

    def seek(self, now: float, *, call_me_maybe: bool = True) -> None:
        """Look for a direct path: soon again at first, then every 5 s until one is proven."""
        self.search.begin(now)
        self.full_ping(now, call_me_maybe=call_me_maybe, at_once=True)
        self.search.plan(now)

    def go_on(self, now: float) -> None:
        """A round of the search is due."""
        if self._belief.settled(now):
            self.search.stop()
        else:
            self.full_ping(now, call_me_maybe=True, at_once=self.search.early)
            self.search.plan(now)

    def look_for_better(self, best: ProvenPath, now: float) -> None:
        """A direct path works; is there a better one?"""
        upgrade = best.latency_s > GOOD_ENOUGH_LATENCY and now - self._last_full_ping >= UPGRADE_INTERVAL
        if upgrade or self._last_full_ping == NEVER:
            self.full_ping(now, call_me_maybe=True)
        if self.candidates.loses(best.addr_port):
            self.survey.begin(now)

    def survey_if_due(self, now: float) -> None:
        """The path in use loses packets: measure it and what else answers side by side."""
        if self.survey.due(now):
            for address in self.candidates.answering(now, everybody=self.survey.first):
                self.ping(address, now)

    def full_ping(self, now: float, *, call_me_maybe: bool, at_once: bool = False) -> None:
        """Ping every candidate that was not pinged within 5 s (3.5); `at_once` ignores that limit."""
        if not self.usable:
            return
        self._last_full_ping = now
        sent = 0
        for candidate in self.candidates:
            if candidate.deletable(now) and not self._is_trusted_best(candidate, now):
                self._drop(candidate.addr_port)
            elif at_once or now - candidate.last_ping >= DISCOVERY_INTERVAL - SLACK:
                candidate.last_ping = now
                self.ping(candidate.addr_port, now)
                sent += 1
        if call_me_maybe and (sent or not len(self.candidates)):
            self._want_call_me_maybe(now)

    def _is_trusted_best(self, candidate: Candidate, now: float) -> bool:
        return self._belief.is_direct(candidate.addr_port) and self._belief.trusted(now)

    def _want_call_me_maybe(self, now: float) -> None:
        if self.relay_region and now - self._last_call_me_maybe >= DISCOVERY_INTERVAL - SLACK:
            self._last_call_me_maybe = now
            self._context.call_me_maybe_wanted.append(self.node.key)

    def rest(self) -> None:
        """The session is idle."""
        self.search.stop()
        self.survey.stop()
