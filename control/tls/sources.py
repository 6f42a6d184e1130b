"""Where a server's certificate comes from: files of the operator, our own hand, or an authority by ACME."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from appliance.crypto.certificates import SEED_SIZE, CertificatePair, is_pair, read_pem, self_signed
from appliance.types.errors import ConfigError, DecodeError
from control.tls.files import write_private

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from appliance.ports.randomness import Randomness

VALIDITY = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)
BACKDATE = timedelta(days=1)
"""Clients whose clock is a little slow accept a fresh certificate."""
_KEY_START = b"-----BEGIN PRIVATE KEY"


class TlsError(ConfigError):
    """Certificate or key file is missing, unreadable, or they do not belong together."""

    code = "tls"


class CertificateSource(Protocol):
    """`is_pinned`: no authority vouches for what `read` gave last, so clients are told its hash."""

    @property
    def is_pinned(self) -> bool: ...

    def read(self, now: datetime) -> CertificatePair:
        """The pair to present from now on. Raises `TlsError`."""
        ...


class GivenFiles:
    """Chain and key of the operator; they may be replaced at any time."""

    is_pinned = False

    def __init__(self, certificate: Path, private_key: Path) -> None:
        self._certificate = certificate
        self._private_key = private_key

    def read(self, now: datetime) -> CertificatePair:
        pair = CertificatePair(_read(self._certificate), _read(self._private_key))
        try:
            belongs = is_pair(pair.certificate_pem, pair.private_key_pem)
        except DecodeError as error:
            raise TlsError(
                f"no PEM certificate and unencrypted key in {self._certificate} and {self._private_key}",
                mend="give the full chain and its key as PEM files",
            ) from error
        if not belongs:
            raise TlsError(
                f"{self._private_key} is not the key of {self._certificate}", mend="give the files of one pair"
            )
        return pair


class SelfSigned:
    """Certificate and key in one file of ours; made anew when missing, damaged, for other names or near its end."""

    is_pinned = True

    def __init__(self, file: Path, names: tuple[str, ...], randomness: Randomness) -> None:
        self._file = file
        self._names = names
        self._randomness = randomness

    def read(self, now: datetime) -> CertificatePair:
        kept = self._kept(now)
        if kept is not None:
            return kept
        made = self_signed(self._names, now - BACKDATE, now - BACKDATE + VALIDITY, self._randomness.bytes(SEED_SIZE))
        keep_pair(self._file, made)
        return made

    def _kept(self, now: datetime) -> CertificatePair | None:
        pair = read_pair(self._file)
        if pair is None:
            return None
        facts = read_pem(pair.certificate_pem)
        if set(facts.names) != set(self._names) or not facts.not_before <= now < facts.not_after - RENEW_BEFORE:
            return None
        return pair


class Issued:
    """What an authority gave, kept in `file` even beyond its end; a stand-in of our own until the first has come."""

    def __init__(self, file: Path, stand_in: SelfSigned) -> None:
        self._file = file
        self._stand_in = stand_in
        self.is_pinned = True

    def read(self, now: datetime) -> CertificatePair:
        pair = read_pair(self._file)
        self.is_pinned = pair is None
        return pair if pair is not None else self._stand_in.read(now)


def read_pair(file: Path) -> CertificatePair | None:
    """Chain and key of one file, as `keep_pair` wrote it; None when missing or damaged."""
    try:
        pem = file.read_bytes()
        if not is_pair(pem, pem):
            return None
    except (OSError, DecodeError):
        return None
    start = pem.index(_KEY_START)
    return CertificatePair(pem[:start], pem[start:])


def keep_pair(file: Path, pair: CertificatePair) -> None:
    """Both in one file, so that they are replaced together. Raises `TlsError`."""
    try:
        write_private(file, pair.certificate_pem.rstrip() + b"\n" + pair.private_key_pem)
    except OSError as error:
        raise TlsError(
            f"cannot keep the certificate in {file}: {error.strerror}", mend="make its folder writable"
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError(f"cannot read {path}: {error.strerror}", mend="check the path and its owner") from error
