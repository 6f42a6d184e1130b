"""Finds resolvers that hand our questions back to us, so that they are asked nothing more.

Each is asked for a name that nobody else asks for: where that question comes here, it has gone in a circle. A resolver
may know one suffix by itself and hand back all other names, so each suffix is looked at by itself.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address

from appliance.proto.dns import encode_name
from appliance.proto.dns.numbers import IN, TXT
from appliance.types.errors import DecodeError
from plugins.magicdns.errors import UpstreamError
from plugins.magicdns.forward import Forwarder, Question
from plugins.magicdns.rebind import is_private
from plugins.magicdns.upstream import Upstream

LABEL = "waypost-loop-check"
TOP = "alt"
"""Nothing below it is ever delegated (RFC 9476), and it is passed on: about "test" many resolvers answer themselves."""
WAIT_S = 1.8
PAUSE_S = 5.0
"""Between two looks at the same one that somebody doubts."""

Way = tuple[str, Upstream]
"""A suffix, "" for all names, and one of its resolvers."""


class Loops:
    """`clock` gives monotonic seconds; `mark` nobody guesses, and no other gateway has. Belongs to one event loop."""

    def __init__(self, forwarder: Forwarder, clock: Callable[[], float], mark: str) -> None:
        self._forwarder = forwarder
        self._clock = clock
        self._mark = mark
        self._count = 0
        self.found: set[Way] = set()
        self._sent: dict[str, Way] = {}
        self._looked: dict[Way, float] = {}

    def forget(self) -> None:
        """Other resolvers are asked from now on."""
        self.found.clear()
        self._looked.clear()

    def usable(self, suffix: str, upstreams: Iterable[Upstream]) -> list[Upstream]:
        return [each for each in upstreams if (suffix, each) not in self.found]

    def due(self, suffix: str, upstreams: Sequence[Upstream]) -> list[Way]:
        """Of resolvers that somebody doubts, those that were not looked at a moment ago."""
        long_ago = self._clock() - PAUSE_S
        return [(suffix, each) for each in upstreams if self._looked.get((suffix, each), long_ago) <= long_ago]

    async def look(self, ways: Iterable[Way]) -> None:
        """Ask each of them. One that was left out and hands nothing back is used again."""
        async with asyncio.TaskGroup() as group:
            for way in ways:
                if _is_near(way[1]):
                    self._looked[way] = self._clock()
                    group.create_task(self._ask(way))

    async def _ask(self, way: Way) -> None:
        suffix, upstream = way
        self._count += 1
        name = f"{self._mark}-{self._count}.{LABEL}.{suffix or TOP}"
        with suppress(DecodeError, UpstreamError, TimeoutError):
            wire = encode_name(name) + struct.pack(">HH", TXT, IN)
            self._sent[name] = way
            async with asyncio.timeout(WAIT_S):
                await self._forwarder.ask([upstream], Question(wire, wire))
        if self._sent.pop(name, None) is not None:
            self.found.discard(way)

    def is_ours(self, name: str) -> bool:
        """Whether only we ask for that name. Other gateways' go on, for their way may be longer."""
        return name.startswith(self._mark)

    def came_back(self, name: str) -> Way | None:
        """The way that such a question took, unless it was a long one; it is left out from now on."""
        way = self._sent.pop(name, None)
        if way is not None:
            self.found.add(way)
        return way


def _is_near(upstream: Upstream) -> bool:
    """Only a resolver of this site or of the mesh can ask us."""
    return bool(upstream.address) and is_private(ip_address(upstream.address))
