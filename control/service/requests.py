"""Questions to connected nodes: whether they answer, how they reach a peer, and control-to-node requests
(control-protocol spec 17)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from appliance.proto.control import messages as wire
from appliance.proto.http1.head import encode_request_head, parse_response_head
from appliance.types.errors import DecodeError
from control.service.actor import Permission
from control.service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from control.service.actor import Actor
    from control.service.core import Core
    from control.service.nodes import NodeOperations
    from control.state.records import NodeRecord

KINDS = ("disco", "TSMP", "ICMP", "peerapi")
LIVENESS_S = 15.0
PING_S = 10.0
SLACK_S = 3.0
MAX_LIMIT_S = 50.0
MAX_REQUEST_BYTES = 64 * 1024
SHOWN_TEXT_BYTES = 1 << 20


class NodeSilentError(ServiceError):
    """The node is connected and does not answer, or answers something else."""

    code = "node-silent"
    status = 504


class NodeAwayError(ServiceError):
    """The node has no map stream by which it could be asked."""

    code = "node-away"
    status = 409


class NodeChannel(Protocol):
    """The server's way to nodes: a ping request on the map stream, answers inside the node's tunnel."""

    async def ask(self, node: NodeRecord, request: wire.PingRequest, answers: int, limit_s: float) -> list[bytes]:
        """The bodies of what came until there were `answers` of them or the time was up.

        Fills in the URL. Raises `NodeAwayError`.
        """
        ...

    def now(self) -> float:
        """Monotonic seconds."""
        ...


@dataclass(frozen=True, slots=True)
class PeerPing:
    """How a node reaches a peer. `error` non-empty: it does not."""

    kind: str
    error: str = ""
    latency_s: float = 0.0
    endpoint: str = ""
    relay: str = ""
    peerapi_port: int = 0


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """A node's HTTP answer. Bytes that are no UTF-8 are replaced in `body`."""

    status: int
    content_type: str
    body: str


class NodeRequestOperations:
    """Raises `ServiceError`s; `connect` comes before anything is asked."""

    def __init__(self, core: Core, nodes: NodeOperations) -> None:
        self._core = core
        self._nodes = nodes
        self._channel: NodeChannel | None = None

    def connect(self, channel: NodeChannel) -> None:
        self._channel = channel

    def channel(self) -> NodeChannel | None:
        """The way to nodes, where there is one."""
        return self._channel

    async def alive(self, actor: Actor, name: str) -> float:
        """Seconds that the node took to answer."""
        actor.require(Permission.NODES)
        node, channel = self._nodes.find(name), self._connected()
        started = channel.now()
        if not await channel.ask(node, wire.PingRequest(types=""), 1, LIVENESS_S):
            raise _silent(node)
        return channel.now() - started

    async def ping_peer(self, actor: Actor, name: str, peer: str, kinds: Sequence[str]) -> tuple[PeerPing, ...]:
        """Let the node ping a peer, in every kind; a kind without an answer is left out."""
        actor.require(Permission.NODES)
        node, target, channel = self._nodes.find(name), self._nodes.find(peer), self._connected()
        wanted = tuple(dict.fromkeys(kinds))
        unknown = [kind for kind in wanted if kind not in KINDS]
        if unknown or not wanted:
            raise ServiceError(f"no kind of ping: {', '.join(unknown) or 'none given'}", mend=f"use {', '.join(KINDS)}")
        request = wire.PingRequest(types=",".join(wanted), ip=str(target.ipv4))
        answers = await channel.ask(node, request, len(wanted), min(PING_S * len(wanted) + SLACK_S, MAX_LIMIT_S))
        if not answers:
            raise _silent(node)
        return tuple(_peer_ping(answer) for answer in answers)

    async def c2n(
        self, actor: Actor, name: str, path: str, *, method: str = "GET", body: bytes = b"", limit_s: float = 30.0
    ) -> NodeAnswer:
        """Let the node answer an HTTP request; `path` with its query."""
        actor.require(Permission.NODES)
        node, channel = self._nodes.find(name), self._connected()
        limit_s = min(max(limit_s, 1.0), MAX_LIMIT_S)
        payload = _request(method, path, body, limit_s)
        async with self._core.change(actor) as draft:
            await draft.audit("node.c2n", f"node:{node.id}", None, {"method": method, "path": path.partition("?")[0]})
        answers = await channel.ask(node, wire.PingRequest(types="c2n", payload=payload), 1, limit_s)
        if not answers:
            raise _silent(node)
        return _answer(answers[0])

    def _connected(self) -> NodeChannel:
        if self._channel is None:
            raise NodeAwayError("no node is connected to this process", mend="ask the one that serves the nodes")
        return self._channel


def _silent(node: NodeRecord) -> NodeSilentError:
    return NodeSilentError(f"node {node.given_name} does not answer", mend="see: waypost-control nodes show")


def _request(method: str, path: str, body: bytes, limit_s: float) -> bytes:
    if not path.startswith("/") or len(body) > MAX_REQUEST_BYTES:
        raise ServiceError("not a request that a node could answer", mend="give a path such as /echo, and a short body")
    headers = (("Host", "node"), ("C2n-Handler-Timeout", f"{limit_s:.0f}s"), ("Content-Length", str(len(body))))
    try:
        return encode_request_head(method, path, headers) + body
    except ValueError:
        raise ServiceError("not an HTTP method and path", mend="write it as GET /echo") from None


def _peer_ping(body: bytes) -> PeerPing:
    try:
        found = wire.decode(wire.PingResponse, body)
    except DecodeError:
        raise NodeSilentError("the node's answer cannot be read") from None
    relay = found.derp_region_code or (str(found.derp_region_id) if found.derp_region_id else "")
    return PeerPing(found.type, found.err, found.latency_seconds, found.endpoint, relay, found.peer_api_port)


def _answer(body: bytes) -> NodeAnswer:
    try:
        parsed = parse_response_head(body)
    except DecodeError:
        parsed = None
    if parsed is None:
        raise NodeSilentError("the node's answer is no HTTP response")
    head, size = parsed
    text = body[size : size + SHOWN_TEXT_BYTES].decode(errors="replace")
    return NodeAnswer(head.status, head.header("content-type") or "", text)
