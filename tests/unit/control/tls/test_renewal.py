"""When a certificate is renewed, and what follows from a failure."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.crypto.certificates import CertificatePair, read_pem, self_signed
from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from control.tls.order import AcmeError, AcmeFolder
from control.tls.renewal import MAX_RETRY_S, Renewer, due_at, read_status, retry_s
from control.tls.sources import keep_pair, read_pair

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("control.example",)
DAY = 86400.0


def made(begin: datetime, days: float = 90, names: tuple[str, ...] = NAMES) -> CertificatePair:
    return self_signed(names, begin, begin + timedelta(days=days), b"\x07" * 48)


@dataclass
class Authority:
    """Gives what it is told to: a pair, or a refusal."""

    clock: VirtualClock
    refusal: str = ""
    orders: int = 0
    told: int = 0
    seen: asyncio.Event = field(default_factory=asyncio.Event)

    async def order(self) -> CertificatePair:
        self.orders += 1
        self.seen.set()
        if self.refusal:
            raise AcmeError(self.refusal)
        return made(self.clock.wall_now())

    def renewed(self) -> None:
        self.told += 1


def rig(folder: Path, refusal: str = "") -> tuple[Renewer, Authority, AcmeFolder]:
    files = AcmeFolder(folder, "https://authority.example/dir")
    authority = Authority(VirtualClock(), refusal)
    renewer = Renewer(files, NAMES, authority.order, authority.renewed, authority.clock, SeededRandomness(3))
    return renewer, authority, files


def test_ok__due_after_two_thirds_spread_over_a_thirtieth() -> None:
    facts = read_pem(made(NOW).certificate_pem)
    assert due_at(facts, NAMES, 0) == NOW + timedelta(days=60)
    assert due_at(facts, NAMES, 0.5) == NOW + timedelta(days=61.5)
    assert due_at(facts, ("Control.Example",), 0) == NOW + timedelta(days=60)


def test_ok__due_at_once_without_one_or_for_other_names() -> None:
    facts = read_pem(made(NOW).certificate_pem)
    assert due_at(None, NAMES, 0) < NOW
    assert due_at(facts, (*NAMES, "other.example"), 0) < NOW


def test_ok__pauses_double_up_to_six_hours() -> None:
    assert [retry_s(failures, 0.5) for failures in (1, 2, 3)] == [120, 240, 480]
    assert retry_s(1000, 0.5) == MAX_RETRY_S
    assert retry_s(1, 0) == 90
    assert retry_s(1, 1) == 150


async def test_ok__kept_told_and_due_again(tmp_path: Path) -> None:
    renewer, authority, files = rig(tmp_path)
    assert renewer.wait_s() < 0
    await renewer.attempt()
    assert (authority.told, renewer.counters) == (1, {"certificates_ordered": 1, "orders_failed": 0})
    assert read_pair(files.certificate) is not None
    assert 60 * DAY <= renewer.wait_s() <= 63 * DAY
    assert read_status(files.status).failures == 0


async def test_fail__a_refusal_keeps_the_former_and_is_remembered(tmp_path: Path) -> None:
    renewer, authority, files = rig(tmp_path, "the name does not lead here")
    keep_pair(files.certificate, made(NOW - timedelta(days=80)))
    former = files.certificate.read_bytes()
    for failures in (1, 2):
        await renewer.attempt()
        assert read_status(files.status).failures == failures
    assert files.certificate.read_bytes() == former
    assert authority.told == 0
    assert "does not lead here" in read_status(files.status).error
    assert 180 <= renewer.wait_s() <= 300
    authority.refusal = ""
    await renewer.attempt()
    assert (read_status(files.status).failures, authority.told) == (0, 1)


async def test_fail__a_restart_does_not_ask_at_once_again(tmp_path: Path) -> None:
    renewer, _, files = rig(tmp_path, "too many orders")
    for _ in range(6):
        await renewer.attempt()
    later, authority, _ = rig(tmp_path)
    running = asyncio.ensure_future(later.run())
    await asyncio.sleep(0)
    assert 0 < later.wait_s() <= 60, "a restart may bring the mend, but not more than one order a minute"
    assert later.status.failures == 6
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert authority.orders == 0
    assert read_status(files.status).failures == 6


async def test_ok__asking_tries_at_once(tmp_path: Path) -> None:
    renewer, authority, _ = rig(tmp_path, "port 80 is closed")
    running = asyncio.ensure_future(renewer.run())
    for _ in range(2):
        async with asyncio.timeout(5):
            await authority.seen.wait()
        authority.seen.clear()
        renewer.ask()
    async with asyncio.timeout(5):
        await authority.seen.wait()
    assert authority.orders == 3
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_fail__a_damaged_status_counts_as_none(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    file.write_bytes(b"\xff{")
    assert read_status(file).failures == 0
