"""The server's TLS identity: from files, or self-signed and pinned by hash (derp spec 1.3, 5.4)."""

from __future__ import annotations

import os
import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

from appliance.crypto.certificates import (
    SEED_SIZE,
    CertificateFacts,
    CertificatePair,
    bare_certificate,
    is_pair,
    read_pem,
    self_signed,
)
from appliance.proto.derp.frames import PROTOCOL_VERSION
from appliance.proto.derp.upgrade import META_NAME_PREFIX
from appliance.types.errors import ConfigError, DecodeError
from control.tls.files import write_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from appliance.ports.clock import Clock
    from appliance.ports.randomness import Randomness
    from appliance.types.keys import DerpPublicKey

DERP_PIN_PREFIX = "sha256-raw:"
VALIDITY = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)
META_VALIDITY = timedelta(days=30)
META_RENEW_BEFORE = timedelta(days=10)
BACKDATE = timedelta(days=1)
"""Clients whose clock is a little slow accept a fresh certificate."""


class TlsError(ConfigError):
    """Certificate or key file is missing, unreadable, or they do not belong together."""

    code = "tls"


class ServerTls:
    """One TLS context whose certificate is renewed in place; call `refresh` about once an hour.

    With a `derp_key` the meta certificate is appended to what is presented, which lets DERP clients save a round trip.
    """

    def __init__(self, clock: Clock, randomness: Randomness, derp_key: DerpPublicKey | None = None) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._clock = clock
        self._randomness = randomness
        self._derp_key = derp_key
        self._meta = b""
        self._meta_until: datetime | None = None
        self._loaded: CertificateFacts | None = None
        self._source: _Files | _SelfSigned | None = None

    @classmethod
    def from_files(
        cls,
        certificate: Path,
        private_key: Path,
        clock: Clock,
        randomness: Randomness,
        derp_key: DerpPublicKey | None = None,
    ) -> ServerTls:
        """Leaf and intermediates, and the key, both PEM. They may be replaced while we run. Raises `TlsError`."""
        made = cls(clock, randomness, derp_key)
        made._source = _Files(certificate, private_key)
        made.refresh()
        return made

    @classmethod
    def self_signed(
        cls,
        file: Path,
        names: Sequence[str],
        clock: Clock,
        randomness: Randomness,
        derp_key: DerpPublicKey | None = None,
    ) -> ServerTls:
        """A certificate for these IP addresses and DNS names, kept in `file`. Raises `TlsError`."""
        made = cls(clock, randomness, derp_key)
        made._source = _SelfSigned(file, tuple(names), randomness)
        made.refresh()
        return made

    @property
    def pin_sha256(self) -> str:
        """Hash of the leaf, 64 hex digits."""
        assert self._loaded is not None
        return self._loaded.sha256

    @property
    def cert_name(self) -> str:
        """`CertName` for the DERP map: the pin of a self-signed certificate, "" when a CA vouches for it."""
        return DERP_PIN_PREFIX + self.pin_sha256 if isinstance(self._source, _SelfSigned) else ""

    @property
    def not_after(self) -> datetime:
        assert self._loaded is not None
        return self._loaded.not_after

    def refresh(self) -> bool:
        """Renew or re-read what is due. True when the leaf changed: then push the new DERP map. Raises `TlsError`."""
        assert self._source is not None
        pair = self._source.read(self._clock.wall_now())
        facts = read_pem(pair.certificate_pem)
        changed = self._loaded is None or facts.sha256 != self._loaded.sha256
        if self._renew_meta() or changed:
            self._load(pair)
            self._loaded = facts
        return changed

    def _renew_meta(self) -> bool:
        now = self._clock.wall_now()
        if self._derp_key is None or (self._meta_until is not None and now < self._meta_until - META_RENEW_BEFORE):
            return False
        self._meta_until = now + META_VALIDITY
        name = META_NAME_PREFIX + self._derp_key.raw.hex()
        self._meta = bare_certificate(
            name, PROTOCOL_VERSION, now - META_VALIDITY, self._meta_until, self._randomness.bytes(SEED_SIZE)
        )
        return True

    def _load(self, pair: CertificatePair) -> None:
        """The library reads files only: give it one in memory, so that no second copy of the key touches a disk."""
        chain = pair.certificate_pem.rstrip() + b"\n" + self._meta + pair.private_key_pem
        descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, chain)
            self.context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        except ssl.SSLError as error:
            raise TlsError(f"the TLS library refuses the certificate: {error.reason or error}") from error
        finally:
            os.close(descriptor)


class _Files:
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


class _SelfSigned:
    """Certificate and key in one file of ours; made anew when missing, damaged, for other names or near its end."""

    def __init__(self, file: Path, names: tuple[str, ...], randomness: Randomness) -> None:
        self._file = file
        self._names = names
        self._randomness = randomness

    def read(self, now: datetime) -> CertificatePair:
        kept = self._kept(now)
        if kept is not None:
            return kept
        made = self_signed(self._names, now - BACKDATE, now - BACKDATE + VALIDITY, self._randomness.bytes(SEED_SIZE))
        try:
            write_private(self._file, made.certificate_pem + made.private_key_pem)
        except OSError as error:
            raise TlsError(
                f"cannot keep the certificate in {self._file}: {error.strerror}", mend="make its folder writable"
            ) from error
        return made

    def _kept(self, now: datetime) -> CertificatePair | None:
        try:
            pem = self._file.read_bytes()
            facts = read_pem(pem)
            if not is_pair(pem, pem):
                return None
        except (OSError, DecodeError):
            return None
        if set(facts.names) != set(self._names) or not facts.not_before <= now < facts.not_after - RENEW_BEFORE:
            return None
        start = pem.index(b"-----BEGIN PRIVATE KEY")
        return CertificatePair(pem[:start], pem[start:])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError(f"cannot read {path}: {error.strerror}", mend="check the path and its owner") from error
