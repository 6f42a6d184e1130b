"""The server's TLS identity: from files, from an authority, or self-signed and pinned by hash (derp spec 1.3, 5.4)."""

from __future__ import annotations

import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

from appliance.crypto.certificates import SEED_SIZE, CertificateFacts, CertificatePair, bare_certificate, read_pem
from appliance.proto.derp.frames import PROTOCOL_VERSION
from appliance.proto.derp.upgrade import META_NAME_PREFIX
from control.tls.loading import load_pair
from control.tls.sources import CertificateSource, GivenFiles, Issued, SelfSigned, TlsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from appliance.ports.clock import Clock
    from appliance.ports.randomness import Randomness
    from appliance.types.keys import DerpPublicKey

DERP_PIN_PREFIX = "sha256-raw:"
META_VALIDITY = timedelta(days=30)
META_RENEW_BEFORE = timedelta(days=10)


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
        self._source: CertificateSource | None = None

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
        made._source = GivenFiles(certificate, private_key)
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
        made._source = SelfSigned(file, tuple(names), randomness)
        made.refresh()
        return made

    @classmethod
    def issued(
        cls,
        file: Path,
        stand_in: Path,
        names: Sequence[str],
        clock: Clock,
        randomness: Randomness,
        derp_key: DerpPublicKey | None = None,
    ) -> ServerTls:
        """What an authority gave, in `file`; until then a self-signed one in `stand_in`. Raises `TlsError`."""
        made = cls(clock, randomness, derp_key)
        made._source = Issued(file, SelfSigned(stand_in, tuple(names), randomness))
        made.refresh()
        return made

    @property
    def is_pinned(self) -> bool:
        """Whether clients must know the certificate by its hash."""
        return self._source is not None and self._source.is_pinned

    @property
    def pin_sha256(self) -> str:
        """Hash of the leaf, 64 hex digits."""
        assert self._loaded is not None
        return self._loaded.sha256

    @property
    def cert_name(self) -> str:
        """`CertName` for the DERP map: the pin of a self-signed certificate, "" when an authority vouches for it."""
        return DERP_PIN_PREFIX + self.pin_sha256 if self.is_pinned else ""

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
        try:
            load_pair(self.context, pair.certificate_pem.rstrip() + b"\n" + self._meta + pair.private_key_pem)
        except ssl.SSLError as error:
            raise TlsError(f"the TLS library refuses the certificate: {error.reason or error}") from error
