"""The reflector without its sockets: datagrams and the time in, datagrams out.

What a host says on the LAN goes to every site, what a site says goes onto every LAN, nothing goes on from site to site.
Two gateways may serve one LAN: what came from a site is heard again there from the other gateway, and must not go back.
So the machine remembers each question and each record for a moment, and lets none through that it has just put on, or
taken from, the other side (RFC 6762 sections 7.3 and 7.4 have hosts do the same). What still went round would be held
by the bounds: each LAN and each site has so many bytes a second.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b

from appliance.proto.mdns import Message, Name, Question, Record, encode_messages, parse_message
from appliance.proto.mdns.message import TOP_BIT
from appliance.types.errors import DecodeError
from plugins.mdns_reflector.rules import Selection

ECHO_S = 1.0
"""The shortest pause after which hosts repeat a question (RFC 6762 section 5.2); an echo comes much sooner."""
SAME_S = 0.4
"""Within it, the same from the same side is one: a host says it by IPv4 and by IPv6, or two gateways say it."""
MAX_REMEMBERED = 4096
BYTES_PER_S = 32 * 1024
BURST_BYTES = 128 * 1024
MIN_COST = 64
MAX_SEEN = 256

Key = bytes


@dataclass
class Bound:
    """So many bytes a second, and a burst."""

    left: float = BURST_BYTES
    at: float = 0.0

    def take(self, size: int, now: float) -> bool:
        self.left, self.at = min(BURST_BYTES, self.left + (now - self.at) * BYTES_PER_S), now
        if self.left < size:
            return False
        self.left -= size
        return True


class Memory:
    """When each key was last noted; the oldest go first."""

    def __init__(self) -> None:
        self._at: OrderedDict[Key, float] = OrderedDict()

    def note(self, key: Key, now: float) -> None:
        self._at[key] = now
        self._at.move_to_end(key)
        while len(self._at) > MAX_REMEMBERED:
            self._at.popitem(last=False)

    def since(self, key: Key, now: float) -> float:
        """Seconds since it was noted; endless for what never was."""
        return now - self._at.get(key, float("-inf"))


class Reflector:
    """`services` are the chosen types. `counters`: datagrams and what was not let through, by name."""

    def __init__(self, services: Iterable[str] = ()) -> None:
        self._selection = Selection(services)
        self._told, self._heard = Memory(), Memory()
        """What went to the sites, and what came from them."""
        self._bounds: dict[str, Bound] = {}
        self.seen: OrderedDict[tuple[str, Name], float] = OrderedDict()
        """Site and service instance, with the time until which it is announced."""
        self.counters: Counter[str] = Counter()

    def receive_from_lan(self, data: bytes, lan: str, now: float) -> list[bytes]:
        """What every site is to be told."""
        return self._passed(data, f"lan {lan}", now, other=self._heard, own=self._told, way="out")

    def receive_from_site(self, data: bytes, site: str, now: float) -> list[bytes]:
        """What is to be said on every LAN."""
        return self._passed(data, f"site {site}", now, other=self._told, own=self._heard, way="in", site=site)

    def forget(self, sites: Iterable[str]) -> None:
        """Of these sites nothing is known any more."""
        gone = set(sites)
        for place in [place for place in self.seen if place[0] in gone]:
            del self.seen[place]
        for site in gone:
            self._bounds.pop(f"site {site}", None)

    def _passed(
        self, data: bytes, place: str, now: float, *, other: Memory, own: Memory, way: str, site: str = ""
    ) -> list[bytes]:
        self.counters[f"{way}_received"] += 1
        bound = self._bounds.setdefault(place, Bound(at=now))
        if not bound.take(max(len(data), MIN_COST), now):
            self.counters[f"{way}_too_many"] += 1
            return []
        try:
            message = parse_message(data)
        except DecodeError:
            self.counters[f"{way}_malformed"] += 1
            return []
        chosen = self._selection.chosen(message, now)
        fresh = _only(chosen, lambda key: other.since(key, now) >= ECHO_S and own.since(key, now) >= SAME_S)
        if fresh.is_empty:
            self.counters[f"{way}_not_chosen" if chosen.is_empty else f"{way}_repeated"] += 1
            return []
        datagrams = encode_messages(fresh)
        if not bound.take(max(sum(map(len, datagrams)) - len(data), 0), now):  # what compression had hidden
            self.counters[f"{way}_too_many"] += 1
            return []
        for key in _keys(fresh):
            own.note(key, now)
        if site:
            self._see(fresh, site, now)
        self.counters[f"{way}_sent"] += len(datagrams)
        return datagrams

    def _see(self, message: Message, site: str, now: float) -> None:
        for record in (*message.answers, *message.additional) if message.is_reply else ():
            instance = self._selection.instance(record)
            if instance is None:
                continue
            self.seen.pop((site, instance), None)
            if record.ttl:
                self.seen[site, instance] = now + record.ttl
        while len(self.seen) > MAX_SEEN:
            self.seen.popitem(last=False)


def key_of(entry: Question | Record) -> Key:
    """What makes two questions, or two records, the same; a record that is taken back is another one."""
    if isinstance(entry, Question):
        content = replace(entry, name=entry.name.lower()).encode()
    else:
        ttl = min(entry.ttl, 1)
        content = replace(entry, name=entry.name.lower(), rclass=entry.rclass & ~TOP_BIT, ttl=ttl).encode()
    return blake2b(content, digest_size=16, person=type(entry).__name__.encode()).digest()


def _keys(message: Message) -> Iterator[Key]:
    """Of all that is asked and told; known answers are neither."""
    yield from map(key_of, message.questions)
    if message.is_reply:
        yield from map(key_of, (*message.answers, *message.additional))


def _only(message: Message, is_fresh: Callable[[Key], bool]) -> Message:
    """What is probed for stays with its question."""
    return replace(
        message,
        questions=tuple(each for each in message.questions if is_fresh(key_of(each))),
        answers=tuple(each for each in message.answers if not message.is_reply or is_fresh(key_of(each))),
        additional=tuple(each for each in message.additional if is_fresh(key_of(each))),
    )
