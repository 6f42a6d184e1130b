"""Self-signed certificates and the fields read from them (derp spec 1.3, 5.4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from appliance.crypto.certificates import bare_certificate, is_pair, read_der, read_pem, self_signed
from appliance.types.errors import DecodeError

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
SEED = bytes(range(48))


def test_ok__names_dates_and_hash() -> None:
    pair = self_signed(["192.0.2.10", "derp.example.com", "2001:db8::1"], NOW, LATER, SEED)
    facts = read_pem(pair.certificate_pem)
    assert facts.common_name == "192.0.2.10"
    assert set(facts.names) == {"192.0.2.10", "derp.example.com", "2001:db8::1"}
    assert (facts.not_before, facts.not_after) == (NOW, LATER)
    assert len(facts.sha256) == 64
    assert is_pair(pair.certificate_pem, pair.private_key_pem)
    assert "PRIVATE" not in repr(pair)


def test_ok__meta_certificate_carries_a_long_name() -> None:
    name = "derpkey" + "ab" * 32
    facts = read_pem(bare_certificate(name, 2, NOW, LATER, SEED))
    assert (facts.common_name, facts.serial, facts.names) == (name, 2, ())


def test_fail__pair_of_two() -> None:
    one, two = (self_signed(["a.example"], NOW, LATER, bytes((seed,)) * 48) for seed in (1, 2))
    assert not is_pair(one.certificate_pem, two.private_key_pem)


@pytest.mark.parametrize(
    "data", [b"", b"x" * 100, b"\x30\x80", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_fail__unreadable(data: bytes) -> None:
    for read in (read_der, read_pem):
        with pytest.raises(DecodeError):
            read(data)
    with pytest.raises(DecodeError):
        is_pair(data, data)


def test_fail__no_name_or_short_seed() -> None:
    with pytest.raises(ValueError, match="seed"):
        self_signed([], NOW, LATER, SEED)
    with pytest.raises(ValueError, match="seed"):
        self_signed(["a"], NOW, LATER, b"short")
