"""The packet filter of one map response after the other (control-protocol spec section 14).

Control sends all rules whenever one of them changes. What is equal at the beginning and at the end is not read again,
and keeps its very objects, so that whoever compiles the rules sees at once what is new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from operator import ne

from appliance.proto.control import convert
from appliance.proto.control import messages as wire
from appliance.types import netmap
from appliance.types.errors import DecodeError
from appliance.types.sequences import common_ends

_CAP = "cap:"


class PacketFilterReader:
    def __init__(self) -> None:
        self._start_over()

    def _start_over(self) -> None:
        self._wire: list[wire.FilterRule] = []
        self._read: list[netmap.FilterRule | None] = []
        self._capabilities: Counter[str] = Counter()

    @property
    def capabilities(self) -> frozenset[str]:
        """Node capabilities that rules name as their sources."""
        return frozenset(self._capabilities)

    def read(self, rules: Iterable[wire.FilterRule]) -> tuple[netmap.FilterRule, ...]:
        """The rule set, without rules that cannot be used; a form of rule that we do not know anywhere voids all of it:
        () = deny all."""
        now = list(islice(rules, convert.MAX_FILTER_ENTRIES))
        head, tail = common_ends(self._wire, now, ne)
        fresh = now[head : len(now) - tail]
        if any(map(convert.voids_filter, fresh)):
            self._start_over()
            return ()
        read = [_rule(rule) for rule in fresh]
        self._count(self._read[head : len(self._read) - tail], -1)
        self._count(read, 1)
        self._wire, self._read[head : len(self._read) - tail] = now, read
        return tuple(rule for rule in self._read if rule is not None)

    def _count(self, rules: Iterable[netmap.FilterRule | None], step: int) -> None:
        for rule in rules:
            for source in rule.src_ips if rule is not None else ():
                if source.startswith(_CAP):
                    self._capabilities[source.removeprefix(_CAP)] += step
        self._capabilities += Counter()  # without those that none names any more


def _rule(rule: wire.FilterRule) -> netmap.FilterRule | None:
    try:
        return convert.filter_rule(rule)
    except DecodeError:
        return None
