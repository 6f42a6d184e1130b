"""What the port mapper asks of the world."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.types.addresses import AddrPort


@dataclass(frozen=True, slots=True)
class SendToRouter:
    """A datagram; `to` is the router, or the multicast group of UPnP."""

    to: AddrPort
    data: bytes


@dataclass(frozen=True, slots=True)
class FetchFromRouter:
    """One HTTP exchange with TCP `port` of the router; answered by `receive_web` with `token`."""

    token: int
    port: int
    data: bytes


@dataclass(frozen=True, slots=True)
class MappingChanged:
    """Look at `result` again."""


Action = SendToRouter | FetchFromRouter | MappingChanged
