"""Ping requests on the map stream and the answers to them: `/machine/ping-response/<id>`, `/machine/c2n/<id>`.

Each URL is used once and answered only through the tunnel of the machine that was asked (control-protocol spec 17).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from appliance.proto.control import messages as wire
from control.service.requests import NodeAwayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.ports.clock import Clock
    from appliance.ports.randomness import Randomness
    from appliance.types.ids import NodeId
    from appliance.types.keys import MachinePublicKey
    from control.state.records import NodeRecord

PING_PREFIX = "/machine/ping-response/"
C2N_PREFIX = "/machine/c2n/"
MAX_WAITING = 256
_ID_BYTES = 16
_HOST = "https://control"
"""Answers come through the tunnel, whatever the URL's host is."""


class _Waiting:
    def __init__(self, machine: MachinePublicKey, answers: int) -> None:
        self.machine = machine
        self.wanted = answers
        self.answers: list[bytes] = []
        self.done = asyncio.Event()


class NodeRequests:
    """`NodeChannel`. `send` puts a message on a node's map stream, False: it cannot take one now."""

    def __init__(self, send: Callable[[NodeId, wire.MapResponse], bool], clock: Clock, randomness: Randomness) -> None:
        self._send = send
        self._clock = clock
        self._randomness = randomness
        self._waiting: dict[str, _Waiting] = {}

    def now(self) -> float:
        return self._clock.now()

    async def ask(self, node: NodeRecord, request: wire.PingRequest, answers: int, limit_s: float) -> list[bytes]:
        """See `NodeChannel.ask`."""
        if len(self._waiting) >= MAX_WAITING:
            raise NodeAwayError("too many nodes are being asked at once", mend="try again in a moment")
        prefix = C2N_PREFIX if request.types == "c2n" else PING_PREFIX
        path = prefix + self._randomness.bytes(_ID_BYTES).hex()
        request.url, request.url_is_noise = _HOST + path, True
        waiting = self._waiting[path] = _Waiting(node.machine_key, answers)
        try:
            if not self._send(node.id, wire.MapResponse(ping_request=request)):
                mend = "see: waypost-control nodes list"
                raise NodeAwayError(f"node {node.given_name} is not connected", mend=mend)
            async with asyncio.timeout(limit_s):
                await waiting.done.wait()
        except TimeoutError:
            return waiting.answers
        finally:
            del self._waiting[path]
        return waiting.answers

    def answered(self, machine: MachinePublicKey, method: str, path: str, body: bytes) -> bool:
        """Take an answer; False: nobody waits for it, or not from this machine."""
        waiting = self._waiting.get(path)
        if waiting is None or waiting.machine != machine or method not in ("HEAD", "POST") or waiting.done.is_set():
            return False
        waiting.answers.append(body)
        if len(waiting.answers) >= waiting.wanted:
            waiting.done.set()
        return True
