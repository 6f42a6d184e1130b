"""What a chain of another firewall does with every packet that comes from, or goes into, one interface. Pure.

Rules come as nft's JSON has them. Only what holds for all packets of the interface counts: a rule that asks for more
than the interface (an address, a port, a state, a rate) decides nothing here. So a zone that trusts the interface is
found, by whatever jumps it is reached, and so is the last word that refuses the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from fnmatch import fnmatchcase
from typing import Any

Expression = Sequence[Mapping[str, Any]]
_QUIET = ("counter", "log", "mangle")
_KEYS = {"iifname": "iifname", "iif": "iifname", "oifname": "oifname", "oif": "oifname"}


class Outcome(Enum):
    ACCEPTED = auto()
    DROPPED = auto()
    OPEN = auto()
    """Left to the caller of the chain, or to the policy."""


_VERDICTS = {
    "accept": Outcome.ACCEPTED,
    "drop": Outcome.DROPPED,
    "reject": Outcome.DROPPED,
    "return": Outcome.OPEN,
}


class Walk:
    """Through the chains of one table: `rules` by chain, `side` is `iifname` or `oifname`, the one that is known."""

    def __init__(self, rules: Mapping[str, Sequence[Expression]], side: str, interface: str) -> None:
        self._rules = rules
        self._side = side
        self._interface = interface
        self._known: dict[str, Outcome] = {}

    def outcome(self, chain: str) -> Outcome:
        if chain not in self._known:
            self._known[chain] = Outcome.OPEN  # while it is looked at; nftables has no loops
            self._known[chain] = self._walk(chain)
        return self._known[chain]

    def _walk(self, chain: str) -> Outcome:
        for expression in self._rules.get(chain, ()):
            verdict = self._verdict(expression)
            if verdict is None:
                continue
            name, target = verdict
            found = _VERDICTS[name] if name in _VERDICTS else self.outcome(target)
            if name != "jump" or found is not Outcome.OPEN:
                return found
        return Outcome.OPEN

    def _verdict(self, expression: Expression) -> tuple[str, str] | None:
        """Name and, of a jump, chain; None: for some packets at most."""
        for part in expression:
            for name, value in part.items():
                if name == "match":
                    if not self._always(value):
                        return None
                elif name == "vmap":
                    return self._mapped(value)
                elif name in _VERDICTS or name in ("jump", "goto"):
                    return name, (value or {}).get("target", "") if name in ("jump", "goto") else ""
                elif name not in _QUIET:
                    return None
        return None

    def _always(self, match: Mapping[str, Any]) -> bool:
        if not self._is_known(match.get("left")):
            return False
        right = match.get("right")
        wanted = right.get("set", ()) if isinstance(right, Mapping) else (right,)
        if not all(isinstance(each, str) and not each.startswith("@") for each in wanted):
            return False
        return any(map(self._is_named, wanted)) != (match.get("op") == "!=")

    def _mapped(self, vmap: Mapping[str, Any]) -> tuple[str, str] | None:
        data = vmap.get("data")
        if not self._is_known(vmap.get("key")) or not isinstance(data, Mapping):
            return None
        for name, verdict in data.get("set", ()):
            if isinstance(name, str) and self._is_named(name):
                return self._verdict([verdict])
        return None

    def _is_known(self, selector: object) -> bool:
        meta = selector.get("meta") if isinstance(selector, Mapping) else None
        return isinstance(meta, Mapping) and _KEYS.get(meta.get("key", "")) == self._side

    def _is_named(self, pattern: str) -> bool:
        return fnmatchcase(self._interface, pattern.replace("[", "[[]").replace("?", "[?]"))
