"""ECDSA P-256 signatures in the form of JOSE (RFC 7515, RFC 7518 section 3.4): for tokens that others verify."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from appliance.types.errors import DecodeError, DecodeReason

SEED_SIZE = 40
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_COORDINATE_BYTES = 32


class TokenKey:
    """A P-256 signing key."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private

    @classmethod
    def from_seed(cls, seed: bytes) -> TokenKey:
        """A key made of 40 random bytes."""
        if len(seed) != SEED_SIZE:
            raise ValueError("a signing key needs a seed of 40 bytes")
        return cls(ec.derive_private_key(int.from_bytes(seed, "big") % (_ORDER - 1) + 1, ec.SECP256R1()))

    @classmethod
    def from_pem(cls, data: bytes) -> TokenKey:
        """Raises `DecodeError` for anything but an unencrypted P-256 key."""
        try:
            private = load_pem_private_key(data, None)
        except (ValueError, TypeError):
            raise DecodeError(DecodeReason.BAD_VALUE, "no private key in PEM form") from None
        if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
            raise DecodeError(DecodeReason.BAD_VALUE, "not a P-256 key")
        return cls(private)

    def reveal_pem(self) -> bytes:
        """The private key, for its file only."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, data: bytes) -> bytes:
        """r and s, 32 bytes each, over SHA-256 of the data: the signature of `ES256`."""
        r, s = decode_dss_signature(self._private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")

    def public_point(self) -> tuple[bytes, bytes]:
        """x and y of the public key, 32 bytes each."""
        numbers = self._private.public_key().public_numbers()
        return numbers.x.to_bytes(_COORDINATE_BYTES, "big"), numbers.y.to_bytes(_COORDINATE_BYTES, "big")
