"""This node's own endpoints: which, in which order, and how long a vanished one stays (magicsock-disco spec 3.11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from appliance.magicsock.netcheck.report import Report
from appliance.magicsock.netcheck.session import Families
from appliance.magicsock.timing import ENDPOINT_CACHE, ENDPOINTS_PER_IP
from appliance.types.addresses import ULA_V6, Address, AddrPort
from appliance.types.netmap import Endpoint, EndpointType

_GLOBAL_V6 = IPv6Network("2000::/3")
_ULA = IPv6Network("fc00::/7")


class EndpointCache:
    """What STUN and port mapping gave, kept 310 s after last seen, the newest six of an IP."""

    def __init__(self) -> None:
        self._seen: dict[Endpoint, float] = {}

    def saw(self, endpoints: Iterable[Endpoint], now: float) -> None:
        for endpoint in endpoints:
            self._seen.pop(endpoint, None)
            self._seen[endpoint] = now
        for endpoint in [e for e, at in self._seen.items() if now - at > ENDPOINT_CACHE]:
            del self._seen[endpoint]

    def held(self, now: float) -> list[Endpoint]:
        """Newest first."""
        per_ip: dict[str, int] = {}
        held = []
        for endpoint, at in reversed(self._seen.items()):
            count = per_ip.get(endpoint.addr_port.ip, 0)
            if now - at <= ENDPOINT_CACHE and count < ENDPOINTS_PER_IP:
                per_ip[endpoint.addr_port.ip] = count + 1
                held.append(endpoint)
        return held

    def clear(self) -> None:
        self._seen.clear()


class OwnEndpoints:
    """Collects the sources and gives the list that peers and control get."""

    def __init__(self, is_overlay: Callable[[Address], bool]) -> None:
        self._is_overlay = is_overlay
        self._cache = EndpointCache()
        self._report: Report | None = None
        self._addresses: tuple[Address, ...] = ()
        self._ports: tuple[AddrPort, ...] = ()
        self._static: tuple[AddrPort, ...] = ()
        self._port_mapped: tuple[AddrPort, ...] = ()
        self._fixed_port = False

    def set_interfaces(self, addresses: Sequence[Address], ports: Sequence[AddrPort]) -> None:
        """Addresses of this host's interfaces and the bound addresses of the WireGuard port."""
        self._addresses = tuple(addresses)
        self._ports = tuple(ports)

    def set_static(self, endpoints: Sequence[AddrPort]) -> None:
        """Configured by the operator, never validated."""
        self._static = tuple(endpoints)

    def set_port_mapped(self, endpoints: Sequence[AddrPort]) -> None:
        """External addresses that the router has mapped to us."""
        self._port_mapped = tuple(endpoints)

    def set_fixed_port(self, fixed: bool) -> None:
        """Whether the operator fixed the UDP port, which makes a manual forward on the router likely."""
        self._fixed_port = fixed

    def set_report(self, report: Report) -> None:
        self._report = report

    def forget_mappings(self) -> None:
        """The network changed: what the old one mapped is void."""
        self._cache.clear()
        self._report = None

    def families(self) -> Families:
        """Which IP versions the interfaces and sockets allow (derp spec 9.3)."""
        usable_v4 = any(isinstance(a, IPv4Address) and self._may_reach_out(a) for a in self._addresses)
        usable_v6 = any(isinstance(a, IPv6Address) and self._may_reach_out(a) for a in self._addresses)
        has_v4 = any(not port.is_v6 for port in self._ports)
        has_v6 = any(port.is_v6 for port in self._ports)
        return Families(v4=usable_v4 and has_v4, v6=usable_v6 and has_v6, os_v6=has_v6)

    def _may_reach_out(self, address: Address) -> bool:
        if isinstance(address, IPv6Address):
            return address in _GLOBAL_V6 or (address in _ULA and address not in ULA_V6)
        return not (address.is_loopback or address.is_link_local or address.is_unspecified)

    def determine(self, now: float) -> tuple[Endpoint, ...]:
        """The list now, without duplicates; the first source of an address names its type."""
        learned = self._learned()
        self._cache.saw(learned, now)
        collected = [
            *learned,
            *self._cache.held(now),
            *(Endpoint(address, EndpointType.EXPLICIT) for address in self._static),
            *self._local(),
        ]
        unique: dict[AddrPort, Endpoint] = {}
        for endpoint in collected:
            unique.setdefault(endpoint.addr_port, endpoint)
        return tuple(unique.values())

    def _learned(self) -> list[Endpoint]:
        learned = [Endpoint(address, EndpointType.PORTMAPPED) for address in self._port_mapped]
        report = self._report
        if report is None:
            return learned
        learned += [Endpoint(address, EndpointType.STUN) for address in report.mapped()]
        local_port = next((port.port for port in self._ports if not port.is_v6), 0)
        if report.mapping_varies_by_dest_ip and self._fixed_port and report.global_v4 is not None and local_port:
            guess = AddrPort(report.global_v4.ip, local_port)
            learned.append(Endpoint(guess, EndpointType.STUN_LOCAL_PORT))
        return learned

    def _local(self) -> list[Endpoint]:
        addresses = self._bound_addresses()
        usable = [a for a in addresses if not a.is_loopback and not a.is_link_local and not self._is_overlay(a)]
        if not usable:
            usable = [a for a in addresses if a.is_loopback]
        ports = {port.is_v6: port.port for port in self._ports}
        return [
            Endpoint(AddrPort(str(a), ports[a.version == 6]), EndpointType.LOCAL)
            for a in usable
            if ports.get(a.version == 6)
        ]

    def _bound_addresses(self) -> tuple[Address, ...]:
        """Every interface address, or the one that a socket is bound to for its family."""
        bound = {port.is_v6: port.address for port in self._ports if not port.address.is_unspecified}
        others = tuple(a for a in self._addresses if (a.version == 6) not in bound)
        return (*bound.values(), *others)
