"""DNS over HTTPS by HTTP/2 (RFC 8484 section 5.2): all questions to one resolver share a connection."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from appliance.proto.control.http2 import Http2
from appliance.proto.control.tunnel_events import BodyReceived, ResponseStarted, StreamEnded, StreamFailed
from appliance.types.errors import DecodeError
from plugins.magicdns.doh import MAX_BYTES, TYPE, check_answer
from plugins.magicdns.errors import NoHttp2Error, UpstreamError
from plugins.magicdns.kept import Connection, Connections, Exchange
from plugins.magicdns.reach import Resolve
from plugins.magicdns.trust import Trust
from plugins.magicdns.upstream import HTTPS_PORT, Upstream

PROTOCOLS = ("h2", "http/1.1")
_HEADERS = (("accept", TYPE), ("content-type", TYPE))


@dataclass(slots=True)
class _Exchange(Exchange):
    status: int = 0
    kind: str = ""
    data: bytearray = field(default_factory=bytearray)

    def finish(self) -> None:
        try:
            check_answer(self.status, self.kind, len(self.data))
        except UpstreamError as error:
            self.fail(error)
        else:
            self.succeed(bytes(self.data))


class _Connection(Connection[_Exchange]):
    """Its numbers are those of streams."""

    def __init__(self, upstream: Upstream, context: ssl.SSLContext) -> None:
        super().__init__(context)
        host = upstream.server_name
        shown = f"[{host}]" if ":" in host else host
        self._authority = shown if upstream.port == HTTPS_PORT else f"{shown}:{upstream.port}"
        self._path = upstream.path
        self._http2 = Http2(client=True)

    def settle(self) -> None:
        if self._transport.get_extra_info("ssl_object").selected_alpn_protocol() != PROTOCOLS[0]:
            raise NoHttp2Error("speaks no HTTP/2")

    def data_received(self, data: bytes) -> None:
        self._heard += 1
        try:
            self._http2.receive_data(data)
        except DecodeError:
            self.abort()
            return
        while (event := self._http2.next_event()) is not None:
            match event:
                case ResponseStarted():
                    self._started(event)
                case BodyReceived():
                    self._more(event)
                case StreamEnded() if exchange := self._answered(event.stream_id):
                    exchange.finish()
                case StreamFailed() if exchange := self._answered(event.stream_id):
                    exchange.fail(UpstreamError(f"breaks the answer off (HTTP/2 error {event.code})"))
        if self._http2.goodbye is not None:
            self.usable = False
        self._flush()

    def _send(self, message: bytes) -> tuple[int, _Exchange]:
        try:
            number = self._http2.send_request("POST", self._path, _HEADERS, message, authority=self._authority)
        except DecodeError as error:
            raise UpstreamError(f"takes no more questions: {error}") from None
        self._flush()
        return number, _Exchange(self._loop.create_future())

    def _leave(self, number: int) -> None:
        self._http2.reset(number)
        self._flush()

    def _started(self, event: ResponseStarted) -> None:
        if (exchange := self._exchanges.get(event.stream_id)) is not None:
            exchange.status, exchange.kind = event.status, dict(event.headers).get("content-type", "")

    def _more(self, event: BodyReceived) -> None:
        exchange = self._exchanges.get(event.stream_id)
        if exchange is None:
            return
        exchange.data += event.data
        if len(exchange.data) > MAX_BYTES:
            self._http2.reset(event.stream_id)
            self._exchanges.pop(event.stream_id).finish()

    def _flush(self) -> None:
        if (data := self._http2.data_to_send()) and not self._transport.is_closing():
            self._transport.write(data)


class Http2Client(Connections[_Connection]):
    """`post` raises also `NoHttp2Error`."""

    def __init__(self, resolve: Resolve, trust: Trust) -> None:
        super().__init__(resolve, trust, _Connection, PROTOCOLS)
