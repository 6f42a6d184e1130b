"""Pure: by which Host headers this server's page is served: an address or a name of it.

A name that an attacker points here (DNS rebinding) is neither.
"""

from __future__ import annotations

from appliance.pages.browser import split_host
from appliance.types.addresses import literal


def is_own_host(header: str | None, names: frozenset[str]) -> bool:
    """Whether a Host header is an IP address, "localhost" or one of `names` (lower case), at any port."""
    split = split_host(header or "")
    if split is None:
        return False
    host = split[0]
    return host in names or host == "localhost" or literal(host) is not None
