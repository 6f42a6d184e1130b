"""Choice of the home region with hysteresis (derp spec 9.8)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from appliance.magicsock.netcheck.report import Report
from appliance.types.ids import NO_REGION, RegionId

HISTORY_S = 305.0
SMALL_GAIN_S = 0.010
HEARD_S = 8.0
KEEP_S = 120.0

LastFrameAt = Callable[[RegionId], float | None]


class HomeChooser:
    """Remembers the reports of the last 5 min 5 s and the region preferred last."""

    def __init__(self) -> None:
        self._history: deque[tuple[float, Mapping[RegionId, float]]] = deque()
        self.preferred: RegionId = NO_REGION

    def choose(
        self, report: Report, now: float, last_frame_at: LastFrameAt, score: Mapping[RegionId, float] | None = None
    ) -> RegionId:
        """The region to call home after this report, 0 when nothing is known."""
        scores = score or {}
        self._history.append((now, report.region_latency))
        while self._history[0][0] < now - HISTORY_S:
            self._history.popleft()
        best = self._best(scores)
        present = [region for region in report.region_latency if region in best]
        candidate = min(present, key=lambda region: (best[region], region), default=NO_REGION)
        best_any = best.get(candidate, 0.0)
        old = self.preferred
        if old and candidate != old and self._keep(report, now, last_frame_at, scores, best_any):
            candidate = old
        frame = last_frame_at(old) if old else None
        if not candidate and frame is not None and now - frame <= KEEP_S:
            candidate = old
        self.preferred = candidate
        return candidate

    def _best(self, scores: Mapping[RegionId, float]) -> dict[RegionId, float]:
        best: dict[RegionId, float] = {}
        for _, latencies in self._history:
            for region, latency in latencies.items():
                scaled = _scaled(latency, region, scores)
                best[region] = min(best.get(region, scaled), scaled)
        return best

    def _keep(
        self,
        report: Report,
        now: float,
        last_frame_at: LastFrameAt,
        scores: Mapping[RegionId, float],
        best_any: float,
    ) -> bool:
        """Whether the old home stays although another region looks better."""
        old = self.preferred
        current = _scaled(report.region_latency.get(old, 0.0), old, scores)
        frame = last_frame_at(old)
        heard = frame is not None and (frame >= report.started_at or now - frame <= HEARD_S)
        if not current and not heard:
            return False
        third = int(current * 1e9) // 3
        return current - best_any < SMALL_GAIN_S or int(best_any * 1e9) > third * 2


def _scaled(latency: float, region: RegionId, scores: Mapping[RegionId, float]) -> float:
    score = scores.get(region, 0.0)
    return latency * score if score > 0 else latency
