"""A TLS port beside a plain one: stock clients retry over TLS only (control-protocol spec 3.2, 20.4).

A client whose last dial was less than two minutes ago leaves the plain port out and goes to 443; each attempt counts
as a dial, so with no TLS there it never comes back after a restart of the server. It does not check the certificate,
since the tunnel inside authenticates the server; so a self-signed one does. Clients leave the rule out for servers at
private and loopback addresses.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import structlog

from appliance.types.addresses import literal
from appliance.types.errors import ApplianceError
from control.derp.server import limit_tls_buffers
from control.tls.identity import ServerTls

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from appliance.ports.clock import Clock
    from appliance.ports.randomness import Randomness
    from control.server.front import Front
    from control.server.settings import ServerSettings

log = structlog.get_logger("control.tls")

CERTIFICATE_FILE = "fallback-certificate.pem"
_CLOSE_NETWORKS = [
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7", "::1/128")
]


def is_needed(settings: ServerSettings, host: str) -> bool:
    """Whether stock clients that know this server as `host` would look for TLS beside its plain port."""
    behind_proxy = settings.url.startswith("https:")
    return not settings.has_tls and settings.tls_fallback is not None and not behind_proxy and not _is_close(host)


def _is_close(host: str) -> bool:
    address = literal(host)
    return host == "localhost" if address is None else any(address in network for network in _CLOSE_NETWORKS)


async def open_tls_fallback(
    stack: AsyncExitStack, front: Front, settings: ServerSettings, host: str, clock: Clock, randomness: Randomness
) -> ServerTls | None:
    """Serve the front's routes there too. A port that cannot be had is a warning: everything of ours does without."""
    if not is_needed(settings, host) or settings.tls_fallback is None:
        return None
    tls = ServerTls.self_signed(settings.data_dir / CERTIFICATE_FILE, [host], clock, randomness)
    limit_tls_buffers()
    listen = settings.tls_fallback
    try:
        listener = await front.listen(listen.ip, listen.port, tls.context)
    except ApplianceError as error:
        mend = "free the port, give TLS files with --tls-cert and --tls-key, or --tls-fallback none if no stock client"
        log.warning("stock clients cannot come back to this server", reason=error.text, mend=f"{mend} joins")
        return None
    stack.callback(listener.close)
    return tls
