"""Asks a peer's API whether it is there (`ping --peerapi`)."""

from __future__ import annotations

from appliance.peerapi.client import TIMEOUT_S, NoAnswerError, ask_peer
from appliance.ports.clock import Clock
from appliance.ports.streams import StreamDialer
from appliance.types.addresses import AddrPort
from appliance.types.errors import ApplianceError


class ProbeFailedError(ApplianceError):
    """The peer API of a peer does not answer as it should."""

    code = "peerapi"


async def probe(dialer: StreamDialer, endpoint: AddrPort, clock: Clock, timeout_s: float = TIMEOUT_S) -> float:
    """HEAD `/`; the seconds that it took, connecting included. Raises `ProbeFailedError`."""
    started = clock.now()
    try:
        status, _ = await ask_peer(dialer, endpoint, "HEAD", "/", timeout_s=timeout_s)
    except NoAnswerError as error:
        raise ProbeFailedError(f"the peer API at {endpoint} does not answer: {error}") from error
    if status != 200:
        raise ProbeFailedError(f"the peer API at {endpoint} answers with HTTP {status}")
    return clock.now() - started
