"""Pure: what may go through. Only what belongs to a chosen service type: its instances, and the hosts they run on.

A host's name is known once an SRV record of a chosen type named it, for as long as that record holds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from appliance.proto.dns.numbers import AAAA, ANY, IN, PTR, SRV, TXT, A
from appliance.proto.mdns import Message, Name, Question, Record, labels_of
from appliance.proto.mdns.message import NSEC, TOP_BIT

MAX_HOSTS = 1024
MAX_HOLD_S = 4500.0
"""RFC 6762 section 10: the longest TTL that is usual."""
_LOCAL = b"local"
_ENUMERATION = (b"_services", b"_dns-sd", b"_udp", _LOCAL)
Labels = tuple[bytes, ...]


class Selection:
    """`services` as in the settings. Remembers which hosts the chosen services run on."""

    def __init__(self, services: Iterable[str]) -> None:
        self._types = {_type(text) for text in services}
        self._hosts: OrderedDict[Labels, float] = OrderedDict()

    def chosen(self, message: Message, now: float) -> Message:
        """The message without what may not go through; perhaps empty."""
        records = (*message.answers, *message.additional) if message.is_reply else ()
        for record in records:
            if record.rtype == SRV and self._type_of(labels_of(record.name)) is not None:
                self._learn(labels_of(record.target), now + min(record.ttl, MAX_HOLD_S))
        keep = self._keeps
        return replace(
            message,
            questions=tuple(self._asked(each) for each in message.questions if self._asks(each, now)),
            answers=tuple(each for each in message.answers if keep(each, now)),
            authority=tuple(each for each in message.authority if keep(each, now)),
            additional=tuple(each for each in message.additional if keep(each, now)),
        )

    def instance(self, record: Record) -> Name | None:
        """The service instance that a record announces or takes back; None for other records."""
        is_announced = record.rtype == PTR and self._type_of(labels_of(record.name)) is not None
        return record.target if is_announced and self._is_instance(labels_of(record.target)) else None

    def _asked(self, question: Question) -> Question:
        """Without the wish for a unicast reply: it would come to this gateway instead of to who asked."""
        return replace(question, qclass=question.qclass & ~TOP_BIT)

    def _asks(self, question: Question, now: float) -> bool:
        labels = labels_of(question.name)
        if question.qclass & ~TOP_BIT not in (IN, ANY):
            return False
        if labels == _ENUMERATION:
            return question.qtype in (PTR, ANY)
        return self._type_of(labels) is not None or self._is_host(labels, now)

    def _keeps(self, record: Record, now: float) -> bool:
        labels = labels_of(record.name)
        if record.rclass & ~TOP_BIT != IN:
            return False
        if record.rtype == PTR:
            return self._points_right(labels, labels_of(record.target))
        if record.rtype in (SRV, TXT):
            return self._is_instance(labels)
        if record.rtype == NSEC:
            return self._is_instance(labels) or self._is_host(labels, now)
        return record.rtype in (A, AAAA) and self._is_host(labels, now) and _is_reachable(record.data)

    def _points_right(self, labels: Labels, target: Labels) -> bool:
        if labels == _ENUMERATION:
            return len(target) == 3 and self._type_of(target) is not None
        found = self._type_of(labels)
        return found is not None and self._is_instance(target) and self._type_of(target) == found

    def _type_of(self, labels: Labels) -> Labels | None:
        """The chosen service type that a name is, or is in."""
        found = labels[-3:-1]
        return found if labels[-1:] == (_LOCAL,) and found in self._types else None

    def _is_instance(self, labels: Labels) -> bool:
        return len(labels) == 4 and self._type_of(labels) is not None

    def _is_host(self, labels: Labels, now: float) -> bool:
        return len(labels) >= 2 and labels[-1] == _LOCAL and self._hosts.get(labels, now) > now

    def _learn(self, labels: Labels, until: float) -> None:
        self._hosts[labels] = max(until, self._hosts.get(labels, 0.0))
        self._hosts.move_to_end(labels)
        while len(self._hosts) > MAX_HOSTS:
            self._hosts.popitem(last=False)


def _type(text: str) -> Labels:
    return tuple(part.encode() for part in text.lower().split("."))


def _is_reachable(data: bytes) -> bool:
    """Whether an address means the same at another site."""
    address = IPv4Address(data) if len(data) == 4 else IPv6Address(data)
    return not (address.is_link_local or address.is_loopback or address.is_multicast or address.is_unspecified)
