"""The pair of an authority: kept whole, beyond its end, with a stand-in until it is there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from appliance.crypto.certificates import CertificatePair, read_pem, self_signed
from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from control.tls.identity import ServerTls
from control.tls.sources import keep_pair, read_pair

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("control.example",)


def made(seed: int, days: int = 90) -> CertificatePair:
    return self_signed(NAMES, NOW - timedelta(days=1), NOW + timedelta(days=days), bytes([seed]) * 48)


def issued_tls(folder: Path, clock: VirtualClock) -> ServerTls:
    return ServerTls.issued(folder / "issued.pem", folder / "own.pem", NAMES, clock, SeededRandomness(1))


def test_ok__stand_in_is_pinned_until_the_authority_gave_one(tmp_path: Path) -> None:
    tls = issued_tls(tmp_path, VirtualClock())
    assert tls.cert_name == f"sha256-raw:{tls.pin_sha256}"
    assert not tls.refresh()
    pair = made(2)
    keep_pair(tmp_path / "issued.pem", pair)
    assert tls.refresh()
    assert tls.pin_sha256 == read_pem(pair.certificate_pem).sha256
    assert tls.cert_name == ""


def test_ok__an_ended_certificate_goes_on(tmp_path: Path) -> None:
    clock = VirtualClock()
    keep_pair(tmp_path / "issued.pem", made(2, days=1))
    tls = issued_tls(tmp_path, clock)
    clock.advance(30 * 86400)
    assert not tls.refresh()
    assert tls.cert_name == ""
    assert not (tmp_path / "own.pem").exists()


def test_ok__pair_comes_back_whole_for_the_owner_only(tmp_path: Path) -> None:
    file, pair = tmp_path / "new" / "issued.pem", made(3)
    keep_pair(file, pair)
    assert file.stat().st_mode & 0o777 == 0o600
    found = read_pair(file)
    assert found is not None
    assert found.private_key_pem == pair.private_key_pem
    assert read_pem(found.certificate_pem) == read_pem(pair.certificate_pem)


def test_fail__damaged_or_foreign_pairs_count_as_none(tmp_path: Path) -> None:
    file = tmp_path / "issued.pem"
    assert read_pair(file) is None
    file.write_bytes(made(2).certificate_pem)
    assert read_pair(file) is None
    file.write_bytes(made(2).certificate_pem + made(3).private_key_pem)
    assert read_pair(file) is None
