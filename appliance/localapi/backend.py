"""What the local API asks of the daemon."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from appliance.localapi.schema import (
    EventLine,
    NetcheckReport,
    PingReply,
    PingRequest,
    PrefsPatch,
    PrefsView,
    ProfileView,
    Status,
    UpReply,
    UpRequest,
    VersionReply,
)


class LocalBackend(Protocol):
    """Methods raise `ApplianceError`; everything else is a bug and shown as such."""

    def status(self, *, peers: bool = True) -> Status: ...

    def version(self) -> VersionReply: ...

    def prefs(self) -> PrefsView: ...

    def operator_uid(self) -> int | None:
        """The user, besides root, who may change things."""
        ...

    def netmap(self) -> dict[str, Any]:
        """The netmap as JSON values, for people who look for a fault. No secrets."""
        ...

    def counters(self) -> Mapping[str, int]:
        """What engine and path finding counted since the start: refused, dropped and limited packets."""
        ...

    def metrics(self) -> str:
        """The counters and everything else that is measured, also by plugins, in Prometheus' text format."""
        ...

    def recent_events(self) -> Sequence[EventLine]:
        """The ring of the last state changes, oldest first."""
        ...

    def subscribe(self, callback: Callable[[EventLine], None]) -> Callable[[], None]:
        """Call for every state change; returns the function that ends it."""
        ...

    async def up(self, request: UpRequest) -> UpReply:
        """Start and return at once; progress is in `status`."""
        ...

    async def down(self) -> None: ...

    async def logout(self) -> None: ...

    async def set_prefs(self, patch: PrefsPatch) -> PrefsView: ...

    async def confirm(self) -> PrefsView:
        """Settings that `set_prefs` put on trial stay."""
        ...

    def profiles(self) -> Sequence[ProfileView]: ...

    async def switch_profile(self, name: str) -> None:
        """The daemon starts anew with it: its sockets go away for a moment."""
        ...

    async def delete_profile(self, name: str) -> None: ...

    async def ping(self, request: PingRequest) -> PingReply: ...

    async def netcheck(self) -> NetcheckReport: ...


@dataclass
class MemoryBackend:
    """The twin of `LocalBackend`: answers what a test put in, keeps what it was asked."""

    current: Status
    view: PrefsView
    operator: int | None = None
    pong: PingReply = field(default_factory=PingReply)
    report: NetcheckReport = field(default_factory=NetcheckReport)
    ring: list[EventLine] = field(default_factory=list)
    asked: list[object] = field(default_factory=list)
    subscribers: list[Callable[[EventLine], None]] = field(default_factory=list)
    refuse_with: Exception | None = None

    def status(self, *, peers: bool = True) -> Status:
        return self.current if peers else msgspec.structs.replace(self.current, peers=())

    def version(self) -> VersionReply:
        return VersionReply(version=self.current.version)

    def prefs(self) -> PrefsView:
        return self.view

    def operator_uid(self) -> int | None:
        return self.operator

    def netmap(self) -> dict[str, Any]:
        return {"peers": [peer.name for peer in self.current.peers]}

    def counters(self) -> Mapping[str, int]:
        return {"unknown_datagram": 3}

    def metrics(self) -> str:
        return "# TYPE waypost_peers gauge\nwaypost_peers 3\n"

    def recent_events(self) -> Sequence[EventLine]:
        return self.ring

    def subscribe(self, callback: Callable[[EventLine], None]) -> Callable[[], None]:
        self.subscribers.append(callback)
        return lambda: self.subscribers.remove(callback)

    def publish(self, line: EventLine) -> None:
        for callback in tuple(self.subscribers):
            callback(line)

    async def up(self, request: UpRequest) -> UpReply:
        self._ask(request)
        return UpReply(login=True)

    async def down(self) -> None:
        self._ask("down")

    async def logout(self) -> None:
        self._ask("logout")

    async def set_prefs(self, patch: PrefsPatch) -> PrefsView:
        self._ask(patch)
        return self.view

    async def confirm(self) -> PrefsView:
        self._ask("confirm")
        return self.view

    def profiles(self) -> Sequence[ProfileView]:
        return (ProfileView(id="1a2b", name="default", current=True), ProfileView(id="3c4d", name="work"))

    async def switch_profile(self, name: str) -> None:
        self._ask(("switch", name))

    async def delete_profile(self, name: str) -> None:
        self._ask(("delete", name))

    async def ping(self, request: PingRequest) -> PingReply:
        self._ask(request)
        return self.pong

    async def netcheck(self) -> NetcheckReport:
        self._ask("netcheck")
        return self.report

    def _ask(self, what: object) -> None:
        if self.refuse_with is not None:
            raise self.refuse_with
        self.asked.append(what)
