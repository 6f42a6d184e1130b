"""TLS of the control server and its DERP: certificates from files or self-made, and the DERP meta certificate."""

from control.tls.identity import DERP_PIN_PREFIX, ServerTls
from control.tls.sources import TlsError

__all__ = ["DERP_PIN_PREFIX", "ServerTls", "TlsError"]
