"""Pure: under which names and addresses this gateway serves its page."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.pages.browser import plain_host, split_host

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def known_hosts(addresses: Iterable[str], names: Iterable[str]) -> frozenset[str]:
    """Hosts that are this gateway. Of a name "gw.mesh.internal" the first label alone is one too."""
    found = {*LOOPBACK, *(plain_host(address) for address in addresses)}
    for name in names:
        plain = plain_host(name)
        found.update(part for part in (plain, plain.partition(".")[0]) if part)
    return frozenset(found)


def is_own_host(header: str | None, hosts: frozenset[str], port: int) -> bool:
    """Whether a Host header names one of `hosts` at `port`."""
    split = split_host(header or "")
    return split is not None and split[0] in hosts and split[1] == port


def page_url(address: str, port: int) -> str:
    """URL of the page at an address or name."""
    return f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"
