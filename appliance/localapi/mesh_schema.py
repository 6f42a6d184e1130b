"""The local API's words about the mesh itself: who has an address, and sockets that are handed out.

Whois is `GET /v1/whois?address=`. Sockets cannot travel by HTTP: beside the local API's socket the daemon listens on
another (`handout_socket`), of kind SOCK_SEQPACKET. A caller sends one request as JSON and gets one `Handout`, with the
descriptor by SCM_RIGHTS; then the daemon closes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from appliance.localapi.schema import ErrorReply

MAX_MESSAGE_BYTES = 16 * 1024


class WhoisReply(msgspec.Struct, frozen=True, kw_only=True):
    """A peer. `user` is its owner's login, "" for a tagged node; `name` its full name in the mesh.

    `capabilities`: what grants of the policy give this peer toward this node, name to values.
    """

    stable_id: str
    name: str
    addresses: tuple[str, ...]
    user: str = ""
    display_name: str = ""
    tags: tuple[str, ...] = ()
    os: str = ""
    online: bool | None = None
    capabilities: dict[str, tuple[Any, ...]] = {}


class DialRequest(msgspec.Struct, frozen=True, kw_only=True, tag="dial"):
    """A TCP connection. `host`: name of a peer, or an address."""

    host: str
    port: int
    timeout_s: float = 30.0


class ListenRequest(msgspec.Struct, frozen=True, kw_only=True, tag="listen"):
    """A TCP listener on an overlay address of this node, "" for its first; `port` 0 for any."""

    port: int
    address: str = ""


HandoutRequest = DialRequest | ListenRequest


class Handout(msgspec.Struct, frozen=True, kw_only=True):
    """`error`, or the socket's own address."""

    address: str = ""
    port: int = 0
    error: ErrorReply | None = None


def handout_socket(localapi: str) -> str:
    """`waypostd.sock` has `waypostd.sockets` beside it."""
    return str(Path(localapi).with_suffix(".sockets"))
