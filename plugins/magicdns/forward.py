"""Asks several resolvers about one question and takes the first good answer (node-os spec 3.3).

The one that did best lately is asked first, the next when it is slow or fails. SERVFAIL and REFUSED are kept for the
case that nobody does better.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from appliance.proto.dns import Reply, build_query
from appliance.proto.dns.numbers import BADVERS, FORMERR, NOTIMP, REFUSED, SERVFAIL
from appliance.types.errors import ApplianceError
from plugins.magicdns.errors import NoUpstreamError, UntrustedError, UpstreamError
from plugins.magicdns.transports import Transports
from plugins.magicdns.upstream import Kind, Upstream

STAGGER_S = 0.2
LIMIT_S = 10.0
TCP_AFTER_S = 2.0
FAILING_S = 15.0
"""After so long without any answer the resolvers count as failing."""
SHUN_S = 10.0
"""How long one that failed is asked last."""
_SOFT = frozenset({SERVFAIL, REFUSED})
_NO_EDNS = frozenset({FORMERR, NOTIMP, BADVERS})
_SMOOTHING = 0.2


@dataclass(slots=True)
class UpstreamHealth:
    """`latency_s` is smoothed, 0 before the first answer.

    `error` is the last failure since the last answer, `untrusted` whether a certificate was its reason.
    """

    asked: int = 0
    answered: int = 0
    failed: int = 0
    latency_s: float = 0.0
    failed_at: float | None = None
    answered_at: float | None = None
    error: str = ""
    untrusted: bool = False
    no_edns: bool = False

    def good(self, seconds: float, now: float) -> None:
        self.answered += 1
        self.latency_s = seconds if not self.latency_s else self.latency_s + _SMOOTHING * (seconds - self.latency_s)
        self.failed_at, self.answered_at, self.error, self.untrusted = None, now, "", False

    def bad(self, reason: str, now: float, *, untrusted: bool = False) -> None:
        self.failed += 1
        self.failed_at, self.error, self.untrusted = now, reason, untrusted


@dataclass(frozen=True, slots=True)
class Question:
    """`wire` keeps the letters' case, `key` is lower case. `stream`: the client itself came by TCP."""

    wire: bytes
    key: bytes
    dnssec_ok: bool = False
    checking_disabled: bool = False
    stream: bool = False


class Forwarder:
    """`clock` gives monotonic seconds."""

    def __init__(self, transports: Transports, clock: Callable[[], float]) -> None:
        self._transports = transports
        self._clock = clock
        self.health: defaultdict[Upstream, UpstreamHealth] = defaultdict(UpstreamHealth)
        self._failing_since: float | None = None

    def keep_only(self, upstreams: Sequence[Upstream]) -> None:
        """Forget what is known of others."""
        for gone in self.health.keys() - set(upstreams):
            del self.health[gone]
        self._failing_since = None

    @property
    def failing_s(self) -> float:
        """For how long every resolver that was asked has failed."""
        return 0.0 if self._failing_since is None else self._clock() - self._failing_since

    async def ask(self, upstreams: Sequence[Upstream], question: Question) -> Reply:
        """Raises `UpstreamError`, of which `NoUpstreamError` says that there is nobody to ask."""
        if not upstreams:
            raise NoUpstreamError("no resolver is known for this name", mend="set upstreams, or join a network")
        if len(upstreams) == 1:
            return self._best([await self._tried(upstreams[0], question)])
        return await self._race(self._order(upstreams), question)

    def _order(self, upstreams: Sequence[Upstream]) -> list[Upstream]:
        now = self._clock()

        def rank(upstream: Upstream) -> tuple[bool, float]:
            known = self.health[upstream]
            shunned = known.failed_at is not None and now - known.failed_at < SHUN_S
            return shunned, known.latency_s

        return sorted(upstreams, key=rank)

    async def _race(self, upstreams: Sequence[Upstream], question: Question) -> Reply:
        outcomes: asyncio.Queue[Reply | UpstreamError] = asyncio.Queue()
        waiting = deque(upstreams)
        running = 0
        found: list[Reply | UpstreamError] = []

        async def attempt(upstream: Upstream) -> None:
            outcomes.put_nowait(await self._tried(upstream, question))

        async with asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[None]] = []
            while waiting or running:
                if waiting:
                    tasks.append(group.create_task(attempt(waiting.popleft())))
                    running += 1
                with suppress(TimeoutError):
                    async with asyncio.timeout(STAGGER_S if waiting else None):
                        found.append(await outcomes.get())
                        running -= 1
                        if _is_good(found[-1]):
                            break
            for task in tasks:
                task.cancel()
        return self._best(found)

    def _best(self, found: Sequence[Reply | UpstreamError]) -> Reply:
        """The good one; else one that failed for another reason than refusing; else the refusal."""
        replies = [each for each in found if isinstance(each, Reply)]
        for reply in sorted(replies, key=lambda each: (each.rcode in _SOFT, each.rcode == REFUSED)):
            self._failing_since = None
            return reply
        self._failing_since = self._clock() if self._failing_since is None else self._failing_since
        assert isinstance(found[-1], UpstreamError)
        raise found[-1]

    async def _tried(self, upstream: Upstream, question: Question) -> Reply | UpstreamError:
        known = self.health[upstream]
        known.asked += 1
        started = self._clock()
        try:
            async with asyncio.timeout(LIMIT_S):
                reply = await self._exchange(upstream, question, known)
        except TimeoutError:
            known.bad("no answer in time", self._clock())
            return UpstreamError(f"{upstream} does not answer")
        except (ApplianceError, OSError, EOFError) as error:
            reason = error.text if isinstance(error, ApplianceError) else getattr(error, "strerror", None) or str(error)
            known.bad(reason, self._clock(), untrusted=isinstance(error, UntrustedError))
            return UpstreamError(f"{upstream}: {reason}")
        if reply.rcode in _SOFT:
            known.bad("answers SERVFAIL" if reply.rcode == SERVFAIL else "refuses", self._clock())
        else:
            known.good(self._clock() - started, self._clock())
        return reply

    async def _exchange(self, upstream: Upstream, question: Question, known: UpstreamHealth) -> Reply:
        reply = await self._ask_once(upstream, question, edns=not known.no_edns)
        if reply.rcode in _NO_EDNS and not known.no_edns and not reply.had_edns:
            again = await self._ask_once(upstream, question, edns=False)
            known.no_edns = again.rcode not in _NO_EDNS
            return again
        return reply

    async def _ask_once(self, upstream: Upstream, question: Question, *, edns: bool) -> Reply:
        message = build_query(
            secrets.randbelow(1 << 16),
            question.wire,
            dnssec_ok=question.dnssec_ok,
            checking_disabled=question.checking_disabled,
            edns=edns,
        )
        if upstream.kind is not Kind.PLAIN:
            return await self._transports.ask(upstream, message, question.key)
        try:
            async with asyncio.timeout(TCP_AFTER_S):
                reply = await self._transports.ask(upstream, message, question.key)
                if not reply.truncated:
                    return reply
        except TimeoutError:
            return await self._late(upstream, message, question.key)
        return await self._transports.ask(upstream, message, question.key, stream=True)

    async def _late(self, upstream: Upstream, message: bytes, key: bytes) -> Reply:
        """UDP once more and TCP beside it: a path that loses datagrams, or large ones."""
        outcomes: asyncio.Queue[Reply | Exception] = asyncio.Queue()

        async def attempt(stream: bool) -> None:
            try:
                reply = await self._transports.ask(upstream, message, key, stream=stream)
                outcomes.put_nowait(UpstreamError("truncated") if reply.truncated and not stream else reply)
            except (ApplianceError, OSError) as error:
                outcomes.put_nowait(error)

        last: Exception = UpstreamError(f"{upstream} does not answer")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(attempt(stream)) for stream in (False, True)]
            for _ in tasks:
                outcome = await outcomes.get()
                if isinstance(outcome, Reply):
                    for task in tasks:
                        task.cancel()
                    return outcome
                last = outcome
        raise last


def _is_good(outcome: Reply | UpstreamError) -> bool:
    return isinstance(outcome, Reply) and outcome.rcode not in _SOFT
