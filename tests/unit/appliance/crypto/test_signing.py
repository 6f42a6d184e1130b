"""JOSE signatures: checked by the library's own verifier."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from appliance.crypto.certificates import self_signed
from appliance.crypto.signing import SEED_SIZE, TokenKey
from appliance.types.errors import DecodeError

SEED = bytes(range(SEED_SIZE))


def public(key: TokenKey) -> ec.EllipticCurvePublicKey:
    x, y = (int.from_bytes(part, "big") for part in key.public_point())
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def test_ok__signature_holds_for_these_bytes_only() -> None:
    key = TokenKey.from_seed(SEED)
    signature = key.sign(b"data")
    assert len(signature) == 64
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    public(key).verify(encode_dss_signature(r, s), b"data", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        public(key).verify(encode_dss_signature(r, s), b"date", ec.ECDSA(hashes.SHA256()))


def test_ok__kept_as_pem() -> None:
    key = TokenKey.from_seed(SEED)
    assert TokenKey.from_pem(key.reveal_pem()).public_point() == key.public_point()
    assert "PRIVATE" not in repr(key)


@pytest.mark.parametrize("data", [b"", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"])
def test_fail__no_key(data: bytes) -> None:
    with pytest.raises(DecodeError):
        TokenKey.from_pem(data)


def test_fail__a_certificate_is_no_key_and_a_short_seed_no_seed() -> None:
    from datetime import UTC, datetime

    day = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(DecodeError):
        TokenKey.from_pem(self_signed(["x"], day, day.replace(year=2027), bytes(48)).certificate_pem)
    with pytest.raises(ValueError, match="40 bytes"):
        TokenKey.from_seed(b"short")
