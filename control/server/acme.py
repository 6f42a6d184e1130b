"""ACME beside the front listener: renewal in the background, and answers to the authority's questions.

They come to port 80 (http-01), or to the front listener itself (tls-alpn-01).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

from appliance.types.errors import ApplianceError
from control.derp.endpoints import plain_reply
from control.server.front import Front
from control.server.routes import PlainRequest, PlainResponse, Routes
from control.tls.alpn_challenge import AlpnAnswers
from control.tls.identity import ServerTls
from control.tls.order import TLS_ALPN, AcmeFolder, order_certificate
from control.tls.renewal import Renewer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from appliance.crypto.certificates import CertificatePair
    from appliance.ports.clock import Clock
    from appliance.ports.randomness import Randomness
    from control.noise.connection import Spawn
    from control.server.settings import ServerSettings
    from control.tls.order import AcmeSettings

log = structlog.get_logger("control.tls")

CHALLENGES = "/.well-known/acme-challenge/"


class ChallengePort:
    """Port 80: answers of an order that runs, a relay's check for captive portals, else the way to HTTPS."""

    def __init__(self, settings: AcmeSettings, url: str, spawn: Spawn) -> None:
        self._listen = settings.challenge_listen
        self._url = url
        self._answers: dict[str, str] = {}
        self._server: asyncio.Server | None = None
        routes = Routes(prefixes={("GET", CHALLENGES): self._challenge, ("GET", "/"): self._elsewhere})
        self._front = Front(routes, spawn)

    async def open(self) -> None:
        """Listen unless that is done. Raises `ApplianceError`."""
        if self._server is None:
            self._server = await self._front.listen(self._listen.ip, self._listen.port)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._front.close()

    def publish(self, answers: Mapping[str, str]) -> None:
        """Path → body from now on; nothing else is answered for."""
        self._answers = dict(answers)

    async def _challenge(self, request: PlainRequest) -> PlainResponse:
        answer = self._answers.get(request.head.path)
        if answer is None:
            return PlainResponse(404, b"no order waits for this\n")
        return PlainResponse(200, answer.encode(), "application/octet-stream")

    async def _elsewhere(self, request: PlainRequest) -> PlainResponse:
        reply = plain_reply(request.head) if request.head.path in ("/generate_204", "/robots.txt") else None
        if reply is not None:
            return PlainResponse(reply.status, reply.body, "text/plain", reply.headers)
        target = request.head.target if request.head.target.startswith("/") else "/"
        return PlainResponse(302, b"", headers=(("Location", self._url + target),))


class AcmeTls:
    """The front's certificate from an authority."""

    def __init__(self, settings: ServerSettings, acme: AcmeSettings, clock: Clock, randomness: Randomness) -> None:
        self._acme = acme
        self._clock = clock
        self._randomness = randomness
        self._port: ChallengePort | None = None
        self.answers = AlpnAnswers(clock, randomness) if acme.challenge == TLS_ALPN else None
        self._renewer: Renewer | None = None
        self.folder = AcmeFolder(settings.data_dir, acme.directory)
        self.tls = ServerTls.issued(self.folder.certificate, self.folder.stand_in, acme.names, clock, randomness)

    async def start(self, url: str, spawn: Spawn, renewed: Callable[[], None]) -> Renewer:
        """Begin to look after the certificate, with port 80 open where it is needed; `renewed` is called when there is
        a new one."""
        if self.answers is None:
            self._port = ChallengePort(self._acme, url, spawn)
            try:
                await self._port.open()
            except ApplianceError as error:
                log.error("the authority cannot look at this server; it is tried again", error=error.line())
        renewer = self._renewer = Renewer(
            self.folder, self._acme.names, self._order, renewed, self._clock, self._randomness
        )
        spawn(renewer.run())
        return renewer

    @property
    def counters(self) -> dict[str, int]:
        """Certificates ordered, and orders that failed."""
        return self._renewer.counters if self._renewer is not None else {}

    async def _order(self) -> CertificatePair:
        if self._port is not None:
            await self._port.open()
        account_key = self.folder.load_account_key(self._randomness)
        try:
            return await order_certificate(self._acme, account_key, self._randomness, self._publish)
        finally:
            self._publish({})

    def _publish(self, answers: Mapping[str, str]) -> None:
        if self.answers is not None:
            self.answers.publish(answers)
        elif self._port is not None:
            self._port.publish(answers)

    def close(self) -> None:
        if self._port is not None:
            self._port.close()
