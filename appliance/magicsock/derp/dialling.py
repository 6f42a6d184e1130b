"""How a DERP region is dialled: which nodes, addresses and TLS rules (derp spec 5.3, 7.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.ports.clock import Clock
from appliance.ports.streams import ByteStream, StreamDialer, TlsPolicy
from appliance.types.addresses import literal
from appliance.types.netmap import DerpNode, DerpRegion

PIN_PREFIX = "sha256-raw:"
DEFAULT_PORT = 443
NODE_TIMEOUT_S = 3.0
"""Per node while others remain. The reference gives TCP alone 1.5 s; this covers DNS, TCP and TLS."""
TOTAL_TIMEOUT_S = 10.0
SECOND_ADDRESS_S = 0.2


@dataclass(frozen=True, slots=True)
class Reached:
    """An open stream and the node at its end; `is_first` when it is the region's preferred one."""

    stream: ByteStream
    node: DerpNode
    is_first: bool


def host_header(node: DerpNode) -> str:
    """Value of `Host`: the port only when it is not 443."""
    port = "" if node.derp_port in (0, DEFAULT_PORT) else f":{node.derp_port}"
    return (f"[{node.host_name}]" if ":" in node.host_name else node.host_name) + port


def tls_policy(node: DerpNode, host: str, ca_file: str = "") -> TlsPolicy:
    """TLS rules of a node when it is dialled at `host` (5.3)."""
    name, cert_name = node.host_name or node.cert_name, node.cert_name
    server_name = "" if literal(name) else name
    if cert_name.startswith(PIN_PREFIX):
        server_name = "" if literal(node.host_name) else node.host_name
        return TlsPolicy(server_name, pin_sha256=cert_name.removeprefix(PIN_PREFIX))
    if node.insecure_for_tests:
        return TlsPolicy(server_name, verify=False)
    verify_name = cert_name if cert_name and cert_name != name else ""
    if not verify_name and not server_name and host != name:
        verify_name = name  # a server known by one address, dialled at another
    return TlsPolicy(server_name, verify_name=verify_name, ca_file=ca_file)


def hosts_of(node: DerpNode) -> list[str]:
    """Where to dial a node: its literal addresses, and its name where an address is left to DNS."""
    given = (node.ipv4, node.ipv6)
    hosts = [address for address in given if literal(address)]
    if "" in given and node.host_name:
        hosts.append(node.host_name)
    return list(dict.fromkeys(hosts))


def relays_of(region: DerpRegion) -> list[DerpNode]:
    """Nodes that relay, in the region's order."""
    return [node for node in region.nodes if not node.stun_only and hosts_of(node)]


async def dial_region(
    dialer: StreamDialer, clock: Clock, region: DerpRegion, *, ca_file: str = "", timeout_s: float = TOTAL_TIMEOUT_S
) -> Reached:
    """Open the first node that answers. Raises OSError."""
    ends = clock.now() + timeout_s
    nodes = relays_of(region)
    failures: list[str] = []
    for index, node in enumerate(nodes):
        left = ends - clock.now()
        if left <= 0:
            break
        limit = left if index == len(nodes) - 1 else min(left, NODE_TIMEOUT_S)
        try:
            stream = await _dial_node(dialer, node, ca_file, limit)
        except OSError as error:
            failures.append(f"{node.name}: {error}")
        else:
            return Reached(stream, node, node is region.nodes[0])
    raise ConnectionError("; ".join(failures) or "the region has no relay to dial")


async def _dial_node(dialer: StreamDialer, node: DerpNode, ca_file: str, timeout_s: float) -> ByteStream:
    """Race the node's addresses, a little apart; the first that is open wins."""
    port = node.derp_port or DEFAULT_PORT
    waiting = hosts_of(node)
    attempts: set[asyncio.Future[ByteStream]] = set()
    error: OSError = ConnectionError("no address")
    try:
        while waiting or attempts:
            if waiting:
                host = waiting.pop(0)
                tls = tls_policy(node, host, ca_file)
                attempts.add(asyncio.ensure_future(dialer.dial(host, port, tls=tls, timeout_s=timeout_s)))
            delay = SECOND_ADDRESS_S if waiting else None
            done, attempts = await asyncio.wait(attempts, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            streams = []
            for attempt in done:
                failure = attempt.exception()
                if failure is None:
                    streams.append(attempt.result())
                elif isinstance(failure, OSError):
                    error = failure
                else:
                    raise failure
            if streams:
                _close_all(streams[1:])
                return streams[0]
    finally:
        await _abandon(attempts)
    raise error


def _close_all(streams: Sequence[ByteStream]) -> None:
    for stream in streams:
        stream.close()


async def _abandon(attempts: set[asyncio.Future[ByteStream]]) -> None:
    """End attempts that lost the race, and streams that they opened meanwhile."""
    for attempt in attempts:
        attempt.cancel()
    results = await asyncio.gather(*attempts, return_exceptions=True)
    _close_all([result for result in results if not isinstance(result, BaseException)])
