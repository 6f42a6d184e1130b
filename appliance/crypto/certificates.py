"""X.509 for servers that pin or present themselves: self-signed certificates, requests to an authority, and reading.

Keys come from seeds given as bytes; signatures are made by the library. Chains are checked by the TLS library.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.types.errors import DecodeError, DecodeReason

SEED_SIZE = 48
"""Bytes of randomness for one key and a serial number."""

_ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """A certificate and its private key, both PEM."""

    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """`sha256` is the hex hash of the DER; `names` are DNS names and IP addresses of the alternative names."""

    sha256: str
    common_name: str
    serial: int
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]


def self_signed(names: Sequence[str], not_before: datetime, not_after: datetime, seed: bytes) -> CertificatePair:
    """ECDSA P-256 server certificate (derp spec 5.4) for IP addresses and DNS names, the first one its CN."""
    return _self_signed(names, not_before, not_after, seed)


def challenge_certificate(
    name: str, digest: bytes, not_before: datetime, not_after: datetime, seed: bytes
) -> CertificatePair:
    """For one name or address, with the 32-byte digest of an authority's challenge (RFC 8737 section 3)."""
    if len(digest) != 32:
        raise ValueError("a challenge's digest has 32 bytes")
    octets = bytes([4, len(digest)]) + digest  # DER: OCTET STRING
    return _self_signed([name], not_before, not_after, seed, x509.UnrecognizedExtension(_ACME_IDENTIFIER, octets))


def _self_signed(
    names: Sequence[str],
    not_before: datetime,
    not_after: datetime,
    seed: bytes,
    more: x509.UnrecognizedExtension | None = None,
) -> CertificatePair:
    if len(seed) != SEED_SIZE or not names:
        raise ValueError("a certificate needs a seed of 48 bytes and a name")
    private = _derive(seed)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    usage = x509.KeyUsage(
        digital_signature=True, key_encipherment=True, content_commitment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(int.from_bytes(seed[40:], "big") | 1)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    if more is not None:
        builder = builder.add_extension(more, critical=True)
    certificate = builder.sign(private, hashes.SHA256())
    return CertificatePair(certificate.public_bytes(Encoding.PEM), _private_pem(private))


def _derive(seed: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(seed[:40], "big") % (_P256_ORDER - 1) + 1, ec.SECP256R1())


def private_key(seed: bytes) -> bytes:
    """A P-256 key from 48 random bytes, as PEM (PKCS #8)."""
    if len(seed) != SEED_SIZE:
        raise ValueError("a key needs a seed of 48 bytes")
    return _private_pem(_derive(seed))


def signing_request(names: Sequence[str], private_key_pem: bytes) -> bytes:
    """A request to an authority (PKCS #10, PEM) for these DNS names and IP addresses. Raises `DecodeError`."""
    try:
        private = load_pem_private_key(private_key_pem, password=None)
    except (ValueError, TypeError):
        raise DecodeError(DecodeReason.BAD_VALUE, "private key") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise DecodeError(DecodeReason.BAD_VALUE, "private key: not on P-256")
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .sign(private, hashes.SHA256())
    )
    return request.public_bytes(Encoding.PEM)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode("ascii"))


def _private_pem(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def bare_certificate(common_name: str, serial: int, not_before: datetime, not_after: datetime, seed: bytes) -> bytes:
    """A self-signed Ed25519 certificate that only carries a name and a number (derp spec 1.3); PEM.

    The name may be longer than the 64 characters of X.520; the key is thrown away.
    """
    private = Ed25519PrivateKey.from_private_bytes(seed[:32])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of the long name, which is meant
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name, _validate=False)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(private.public_key())
            .serial_number(serial)
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(private, None)
        )
    return certificate.public_bytes(Encoding.PEM)


def _facts(certificate: x509.Certificate) -> CertificateFacts:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    common_name = found[0].value if found else ""
    der = certificate.public_bytes(Encoding.DER)
    return CertificateFacts(
        hashlib.sha256(der).hexdigest(),
        common_name if isinstance(common_name, str) else "",
        certificate.serial_number,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        _names(certificate),
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def read_der(der: bytes) -> CertificateFacts:
    """Raises `DecodeError`."""
    try:
        return _facts(x509.load_der_x509_certificate(der))
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise DecodeError(DecodeReason.BAD_VALUE, "certificate") from None


def read_pem(pem: bytes) -> CertificateFacts:
    """The first certificate of a PEM file. Raises `DecodeError`."""
    try:
        return _facts(x509.load_pem_x509_certificate(pem))
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise DecodeError(DecodeReason.BAD_VALUE, "certificate") from None


def is_pair(certificate_pem: bytes, private_key_pem: bytes) -> bool:
    """Whether the private key belongs to the first certificate. Raises `DecodeError` for unreadable ones."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        private = load_pem_private_key(private_key_pem, password=None)
    except (ValueError, TypeError):
        raise DecodeError(DecodeReason.BAD_VALUE, "certificate or private key") from None
    return private.public_key() == certificate.public_key()
