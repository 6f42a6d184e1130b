"""What must hold in any network, judged from what the nodes received and which paths they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from appliance.magicsock.path_mtu import SIZES
from appliance.types.events import PathKind
from tests.sim.node import SimNode
from tests.sim.oracle import Verdict
from tests.sim.outcome import Outcome, PairResult

MAX_SILENCE_S = 1.5
"""With packets each 100 ms: what loss alone may do, plus the relay's first dialling."""
RECOVERY_S = 3.0
FLAPS_A_MINUTE = 1
SIZES_KNOWN_S = 15.0


@dataclass(frozen=True)
class Pair:
    """`a` toward `b`. `lasting`: mappings live as long as traffic; one that only STUN used dies, which is a fault."""

    a: SimNode
    b: SimNode
    verdict: Verdict
    lasting: bool

    def __str__(self) -> str:
        return f"{self.a.name} to {self.b.name}"

    def first_path(self, since: float, *kinds: PathKind) -> float | None:
        """When a path of these kinds was first taken."""
        history = self.a.paths[self.b.key]
        return next((at - since for at, kind, _ in history if at >= since and kind in kinds), None)

    def first_packet(self, since: float) -> float | None:
        return next((at - since for at, _ in self.b.received[self.a.key] if at >= since), None)

    def flaps(self, since: float) -> int:
        """How often the path came back to what it was just before."""
        shown = [(kind, endpoint) for at, kind, endpoint in self.a.paths[self.b.key] if at >= since]
        return sum(1 for first, third in zip(shown, shown[2:], strict=False) if first == third)


def pairs_of(nodes: list[SimNode], verdicts: Mapping[tuple[int, int], Verdict], stable: list[bool]) -> list[Pair]:
    return [
        Pair(nodes[i], nodes[j], verdicts[i, j], stable[i] and stable[j]) for i, j in permutations(range(len(nodes)), 2)
    ]


def judge_paths(pairs: list[Pair], since: float, outcome: Outcome) -> None:
    """Direct where the oracle says so, in its time, and nowhere else; by a peer relay where one may be used."""
    for pair in pairs:
        after, verdict = pair.first_path(since, PathKind.DIRECT), pair.verdict
        if verdict.possible and (after is None or after > verdict.by_s):
            text = f"{pair}: direct is possible within {verdict.by_s:.1f} s, reached after {after}"
            outcome.problem("late" if after is not None else "never direct", text)
        if not verdict.possible and not verdict.luck and after is not None:
            outcome.problem("oracle", f"{pair}: the oracle calls a direct path impossible, yet there is one")
        now = pair.a.status(pair.b)
        relayed = _judge_relay(pair, since, now.kind, outcome)
        outcome.pairs.append(PairResult(verdict.possible, str(now.kind), pair.first_packet(since), after, relayed))


def _judge_relay(pair: Pair, since: float, now: PathKind, outcome: Outcome) -> float | None:
    """Off DERP in its time and for good where a grant allows it; never through a relay without one. When by a relay."""
    by_s, relayed = pair.verdict.relayed_by_s, pair.first_path(since, PathKind.PEER_RELAY)
    if by_s is None:
        if relayed is not None:
            outcome.problem("no grant", f"{pair}: by a peer relay that neither may use")
        return relayed
    after = pair.first_path(since, PathKind.DIRECT, PathKind.PEER_RELAY)
    if after is None or after > by_s:
        outcome.problem("not relayed", f"{pair}: a peer relay is there within {by_s:.1f} s, used after {after}")
    elif now == PathKind.DERP:
        outcome.problem("not relayed", f"{pair}: back on DERP though a peer relay is there")
    return relayed


def judge_stillness(pairs: list[Pair], since: float, settled_s: float, until: float, outcome: Outcome) -> None:
    """Packets at all times after the first second; no path that goes to and fro."""
    for pair in pairs:
        silence = pair.b.longest_silence(pair.a, since + 1.0, until)
        if silence > (MAX_SILENCE_S if pair.lasting else RECOVERY_S):
            outcome.problem("silence", f"{pair}: nothing arrived for {silence:.2f} s in a still network")
        flaps = pair.flaps(since + settled_s)
        if flaps > FLAPS_A_MINUTE * max(1.0, (until - since - settled_s) / 60):
            outcome.problem("flapping", f"{pair}: the path flapped {flaps} times in a still network")
        _judge_size(pair, until, outcome)


def _judge_size(pair: Pair, until: float, outcome: Outcome) -> None:
    """No size is believed that the wires do not carry; one that was asked for long enough is exact."""
    status, wires = pair.a.status(pair.b), [node.host.realm.quality for node in (pair.a, pair.b)]
    truth = max(size for size in SIZES if size <= min(wire.mtu for wire in wires))
    if status.mtu is not None and status.mtu > truth:
        outcome.problem("size", f"{pair}: packets of {status.mtu} bytes are believed to pass, {truth} do")
    steady = status.kind is PathKind.DIRECT and pair.a.paths[pair.b.key][-1][0] < until - SIZES_KNOWN_S
    aside = pair.a.machine.side_route(pair.b.key, until) is not None
    if pair.a.measures and steady and not aside and not any(wire.loss for wire in wires) and status.mtu != truth:
        outcome.problem("size", f"{pair}: {truth} bytes pass, {status.mtu} are known")


def detours(pairs: list[Pair], core_delay: float) -> list[float]:
    """What those on a peer relay now may take longer to leave it.

    It lies across the Internet twice: a ping gets 1.5 round trips for its answer before the path is doubted, and what
    was sent before the fault still arrives.
    """
    return [4 * core_delay if pair.a.status(pair.b).kind == PathKind.PEER_RELAY else 0.0 for pair in pairs]


def judge_recovery(
    pairs: list[Pair], at: float, until: float, lasts: float, slacks: Sequence[float], outcome: Outcome
) -> None:
    """With traffic nobody is silent for 3 s or more; the fault `lasts` so long itself, a pair has its slack besides."""
    longest = 0.0
    for pair, slack in zip(pairs, slacks, strict=True):
        silence = pair.b.longest_silence(pair.a, at, until)
        longest = max(longest, silence)
        if silence > RECOVERY_S + lasts + slack:
            outcome.problem("recovery", f"{pair}: nothing arrived for {silence:.2f} s after a fault")
    outcome.recovery_s = max(0.0, longest - lasts)


def judge_wakening(pairs: list[Pair], at: float, within: float, outcome: Outcome) -> None:
    """After an idle fault and 7 s: packets sent from `at` on arrive."""
    longest = 0.0
    for pair in pairs:
        first = pair.first_packet(at)
        longest = max(longest, within if first is None else first)
        if first is None or first > within:
            outcome.problem("idle recovery", f"{pair}: packets sent 7 s after an idle fault arrived after {first} s")
    outcome.recovery_s = longest


def judge_control(troubles: list[str], away: list[str], outcome: Outcome) -> None:
    """The real control server: no defect shows, and at the end every node has its map stream."""
    for trouble in troubles:
        outcome.problem("control", trouble)
    if away:
        outcome.problem("control", f"no map stream: {', '.join(away)}")
