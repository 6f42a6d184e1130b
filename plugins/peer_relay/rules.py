"""Pure: which addresses the relay names, in which order (magicsock-disco spec 5.2)."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.types.addresses import AddrPort, parse_addr_port
from appliance.types.errors import DecodeError
from plugins.peer_relay.errors import EndpointSettingError

MAX_ADDRESSES = 16


def checked_endpoint(index: int, text: str) -> str:
    """A static endpoint in its normal form. Raises `EndpointSettingError`."""
    try:
        endpoint = parse_addr_port(text)
    except DecodeError:
        raise EndpointSettingError(index, f"{text!r} is no address and port") from None
    address = endpoint.address
    if not endpoint.port or address.is_unspecified or address.is_multicast or address.is_loopback:
        raise EndpointSettingError(index, f"{text!r} cannot be reached by others")
    return str(endpoint)


def offered_addresses(
    static: Iterable[str], mapped: Iterable[AddrPort], interfaces: Iterable[str], ports: Iterable[AddrPort]
) -> tuple[AddrPort, ...]:
    """Static ones first, then what STUN saw, then the host's own with the port of their IP version.

    Where the mapping varies with the destination, the public address with our own port stands a chance too: somebody
    may have forwarded that port.
    """
    by_version = {port.is_v6: port.port for port in ports}
    seen = list(dict.fromkeys(mapped))
    public_v4 = [address for address in seen if not address.is_v6]
    guesses = [AddrPort(public_v4[0].ip, by_version[False])] if len(public_v4) > 1 and False in by_version else []
    own = [AddrPort(ip, by_version[":" in ip]) for ip in interfaces if (":" in ip) in by_version]
    found = [*(parse_addr_port(text) for text in static), *seen, *guesses, *own]
    return tuple(dict.fromkeys(found))[:MAX_ADDRESSES]
