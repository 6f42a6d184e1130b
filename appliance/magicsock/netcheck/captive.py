"""Is there a captive portal, a network that answers in place of everybody until somebody logs in? (derp spec 11)

Plain HTTP to relays that answer 204 with the right response to a challenge; a portal knows neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.magicsock.netcheck.plan import measurable
from appliance.ports.clock import Clock
from appliance.ports.streams import StreamDialer
from appliance.proto.http1.head import ResponseHead, encode_request_head, parse_response_head
from appliance.types.errors import DecodeError
from appliance.types.ids import RegionId
from appliance.types.netmap import DerpMap

MAX_PROBES = 5
LIMIT_S = 3.0
_PATH = "/generate_204"
_NO_CACHE = "no-cache, no-store, must-revalidate, no-transform, max-age=0"


@dataclass(frozen=True, slots=True)
class CaptiveProbe:
    """An IPv4 literal whose port 80 answers."""

    host: str

    @property
    def challenge(self) -> str:
        return f"ts_{self.host}"

    def request(self, unix_s: int) -> bytes:
        headers = (
            ("Host", self.host),
            ("User-Agent", "waypost"),
            ("Cache-Control", _NO_CACHE),
            ("X-Tailscale-Challenge", self.challenge),
            ("Connection", "close"),
        )
        return encode_request_head("GET", f"{_PATH}?t={unix_s}", headers)

    def is_captive(self, head: ResponseHead) -> bool:
        return head.status != 204 or head.header("x-tailscale-response") != f"response {self.challenge}"


def captive_probes(derp_map: DerpMap, home: RegionId) -> tuple[CaptiveProbe, ...]:
    """The home region's relays first; five at most."""
    regions = [region for region in derp_map if measurable(region) and not region.avoid]
    regions.sort(key=lambda region: (region.id != home, region.id))
    hosts = [node.ipv4 for region in regions for node in region.nodes if node.can_port80 and _is_v4(node.ipv4)]
    return tuple(CaptiveProbe(host) for host in dict.fromkeys(hosts))[:MAX_PROBES]


def _is_v4(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


async def find_captive_portal(dialer: StreamDialer, clock: Clock, probes: Sequence[CaptiveProbe]) -> bool | None:
    """True when one answer is a portal's, False when all that came are right, None when none came within 3 s."""
    found = await asyncio.gather(*(_try(dialer, clock, probe) for probe in probes))
    known = [captive for captive in found if captive is not None]
    return any(known) if known else None


async def _try(dialer: StreamDialer, clock: Clock, probe: CaptiveProbe) -> bool | None:
    try:
        async with asyncio.timeout(LIMIT_S):
            stream = await dialer.dial(probe.host, 80, timeout_s=LIMIT_S)
            try:
                stream.write(probe.request(int(clock.wall_now().timestamp())))
                answer = b""
                while data := await stream.read():
                    answer += data
                    parsed = parse_response_head(answer)
                    if parsed is not None:
                        return probe.is_captive(parsed[0])
                return None
            finally:
                stream.close()
    except DecodeError:
        return True  # no relay answers like that
    except (OSError, TimeoutError):
        return None
