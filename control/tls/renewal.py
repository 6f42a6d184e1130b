"""Renewal of the certificate from an authority: when, how long to wait after a failure, and what is told about it.

A failure costs nothing but the attempt: the former certificate is presented until another one is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import structlog

from appliance.crypto.certificates import read_pem
from appliance.types.errors import ApplianceError
from control.tls.files import write_private
from control.tls.sources import keep_pair, read_pair

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.crypto.certificates import CertificateFacts, CertificatePair
    from appliance.ports.clock import Clock
    from appliance.ports.randomness import Randomness
    from control.tls.order import AcmeFolder

log = structlog.get_logger("control.tls")

RENEW_AT = 2 / 3
"""Share of its life after which a certificate is renewed."""
SPREAD = 1 / 30
"""Share of its life over which renewals are spread, so that servers set up together do not come together."""
FIRST_RETRY_S = 120.0
MAX_RETRY_S = 6 * 3600.0
RESTART_GAP_S = 60.0
"""A server that restarts again and again must not use up the authority's limits."""
LOOK_S = 3600.0
"""The clock may jump: look again after so long at the latest."""
MAX_STATUS = 65536


class RenewalStatus(msgspec.Struct, kw_only=True):
    """What is kept about the last attempt; times as Unix seconds. `failures` in a row."""

    failures: int = 0
    error: str = ""
    last_try: float = 0.0
    next_try: float = 0.0


def read_status(file: Path) -> RenewalStatus:
    """As kept; fresh when there is none. Raises OSError when it may not be read."""
    try:
        return msgspec.json.decode(file.read_bytes()[:MAX_STATUS], type=RenewalStatus)
    except (FileNotFoundError, msgspec.MsgspecError):
        return RenewalStatus()


def due_at(facts: CertificateFacts | None, names: tuple[str, ...], share: float) -> datetime:
    """When to order; long ago when there is none or one for other names. `share` in [0, 1) places it in the spread."""
    if facts is None or not {name.lower() for name in names} <= {name.lower() for name in facts.names}:
        return datetime.fromtimestamp(0, UTC)
    life = facts.not_after - facts.not_before
    return facts.not_before + life * (RENEW_AT + SPREAD * share)


def retry_s(failures: int, share: float) -> float:
    """Pause after so many failures in a row: 2 min, 4 min, … 6 h, each a quarter more or less."""
    pause = min(FIRST_RETRY_S * 2.0 ** min(failures - 1, 20), MAX_RETRY_S)
    return pause * (0.75 + 0.5 * share)


@dataclass
class Renewer:
    """Orders when it is time. `order` raises `ApplianceError`; `renewed` is called when a new pair is in the folder."""

    folder: AcmeFolder
    names: tuple[str, ...]
    order: Callable[[], Awaitable[CertificatePair]]
    renewed: Callable[[], None]
    clock: Clock
    randomness: Randomness

    def __post_init__(self) -> None:
        self._asked = asyncio.Event()
        self._share = self.randomness.uniform(0, 1)
        self.status = RenewalStatus()
        self.counters = {"certificates_ordered": 0, "orders_failed": 0}

    def ask(self) -> None:
        """Try again now if there is something to do: the operator mended something."""
        self._asked.set()

    async def run(self) -> None:
        """For ever."""
        self._take_up()
        while True:
            wait_s = self.wait_s()
            if wait_s <= 0:
                await self.attempt()
                continue
            try:
                async with asyncio.timeout(min(wait_s, LOOK_S)):
                    await self._asked.wait()
                self.status.next_try = 0.0
            except TimeoutError:
                continue
            finally:
                self._asked.clear()

    def wait_s(self) -> float:
        """Seconds until the next attempt."""
        pair = read_pair(self.folder.certificate)
        facts = read_pem(pair.certificate_pem) if pair is not None else None
        due = due_at(facts, self.names, self._share).timestamp()
        return max(due, self.status.next_try) - self.clock.wall_now().timestamp()

    async def attempt(self) -> None:
        """One order; its outcome is kept, counted and logged."""
        self.status.last_try = self.clock.wall_now().timestamp()
        try:
            pair = await self.order()
            keep_pair(self.folder.certificate, pair)
            self.renewed()
        except ApplianceError as error:
            self._failed(error)
        else:
            self.counters["certificates_ordered"] += 1
            self._share = self.randomness.uniform(0, 1)
            self.status = RenewalStatus(last_try=self.status.last_try)
            until = read_pem(pair.certificate_pem).not_after
            log.info("new certificate", names=", ".join(self.names), until=f"{until:%Y-%m-%d %H:%M} UTC")
        self._keep()

    def _failed(self, error: ApplianceError) -> None:
        self.counters["orders_failed"] += 1
        self.status.failures += 1
        self.status.error = error.line()
        pause_s = retry_s(self.status.failures, self.randomness.uniform(0, 1))
        self.status.next_try = self.clock.wall_now().timestamp() + pause_s
        log.error("no new certificate, the former one stays", reason=error.line(), again_in=f"{pause_s / 60:.0f} min")

    def _take_up(self) -> None:
        """Failures of the former process count; its pause is cut short, since a restart may bring the mend."""
        try:
            self.status = read_status(self.folder.status)
        except OSError as error:
            log.warning("the outcome of the last order cannot be read", reason=str(error))
        earliest = self.status.last_try + RESTART_GAP_S if self.status.failures else 0.0
        self.status.next_try = min(self.status.next_try, max(earliest, 0.0))

    def _keep(self) -> None:
        try:
            write_private(self.folder.status, msgspec.json.encode(self.status))
        except OSError as error:
            log.error("the outcome of the order cannot be kept", reason=str(error))
