"""Answers to an authority that looks at the TLS port itself: tls-alpn-01 (RFC 8737).

For the time of an order a connection that offers only `acme-tls/1` for a name that is being validated gets a
certificate made for the purpose; everybody else gets the server's own.
"""

from __future__ import annotations

import ssl
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from appliance.crypto.certificates import SEED_SIZE, challenge_certificate
from appliance.types.errors import DecodeError, DecodeReason
from control.tls.loading import load_pair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from appliance.ports.clock import Clock
    from appliance.ports.randomness import Randomness
    from control.tls.client_hello import ClientHello

PROTOCOL = b"acme-tls/1"
_LIFE = timedelta(hours=1)


def sent_name(name: str) -> str:
    """The server name by which an authority asks for a name or address (RFC 8738 section 6)."""
    try:
        return ip_address(name).reverse_pointer
    except ValueError:
        return name.lower()


class AlpnAnswers:
    """Nothing until something is published."""

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._randomness = randomness
        self._contexts: dict[str, ssl.SSLContext] = {}

    def publish(self, digests: Mapping[str, str]) -> None:
        """Name → SHA-256 of the key authorization, 64 hex digits; all others are forgotten. Raises `DecodeError`."""
        self._contexts = {sent_name(name): self._context(name, digest) for name, digest in digests.items()}

    @property
    def is_waiting(self) -> bool:
        """Whether an authority is expected."""
        return bool(self._contexts)

    def context_for(self, hello: ClientHello) -> ssl.SSLContext | None:
        """What to present to the authority; None = this is somebody else."""
        return self._contexts.get(hello.server_name) if hello.protocols == (PROTOCOL,) else None

    def _context(self, name: str, digest: str) -> ssl.SSLContext:
        try:
            raw = bytes.fromhex(digest)
        except ValueError:
            raise DecodeError(DecodeReason.BAD_VALUE, "digest of a challenge") from None
        now = self._clock.wall_now()
        pair = challenge_certificate(name, raw, now - _LIFE, now + _LIFE, self._randomness.bytes(SEED_SIZE))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([PROTOCOL.decode()])
        load_pair(context, pair.certificate_pem + pair.private_key_pem)
        return context
