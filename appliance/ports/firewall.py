"""The host's packet filter: value types of an nftables table, documents that change it, the port and its twin.

A document is a list of nft commands, one a line, that takes effect as a whole or not at all. Documents are written by
`render_create`, `render_change` and `render_delete` in a form that the twin can follow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Protocol

from appliance.types.editions import Edition
from appliance.types.errors import ApplianceError, Severity


class FirewallError(ApplianceError):
    """A document was refused; nothing of it took effect."""

    code = "firewall"
    severity = Severity.HIGH


LEGACY_FAMILIES = {4: "iptables-legacy", 6: "ip6tables-legacy"}
"""By IP version, the family of tables that are no tables of nftables: they can be read only."""
RANGES = "flags interval;"
HASHED = ""
"""Options of a set: elements may be ranges, or are single values."""


@dataclass(frozen=True, slots=True)
class NftSet:
    """A named set, or a verdict map when elements carry verdicts (`type` then ends in `: verdict`).

    Large ones have an `Edition` of elements, so that a change costs what changes."""

    name: str
    type: str
    elements: Mapping[str, str]
    options: str = RANGES

    @property
    def word(self) -> str:
        return "map" if self.type.endswith(": verdict") else "set"

    @property
    def definition(self) -> str:
        return f"{{ type {self.type}; {self.options} }}"


@dataclass(frozen=True, slots=True)
class NftChain:
    """`hook` is the text of a base chain's definition (`type filter hook input priority -5; policy accept;`)."""

    name: str
    rules: tuple[str, ...]
    hook: str = ""


@dataclass(frozen=True, slots=True)
class NftTable:
    family: str
    name: str
    sets: tuple[NftSet, ...] = ()
    chains: tuple[NftChain, ...] = ()

    @property
    def place(self) -> str:
        return f"{self.family} {self.name}"


class FirewallPort(Protocol):
    async def apply(self, document: str) -> None:
        """Run a document as one transaction. Raises `FirewallError` with one clear line."""
        ...

    async def ruleset(self) -> list[dict[str, Any]]:
        """Objects of the whole ruleset in nft's JSON form, with handles, without set elements; and like them, without
        handles, the filter tables of iptables-legacy that are there (`LEGACY_FAMILIES`)."""
        ...

    def stands(self, family: str, name: str) -> bool:
        """Whether there is such a table; quick. True where that cannot be told."""
        ...

    async def table(self, family: str, name: str) -> list[dict[str, Any]]:
        """Objects of one table in the same form; empty when it does not exist."""
        ...


def render_delete(family: str, name: str) -> str:
    """Delete a table whether or not it exists."""
    return f"add table {family} {name}\ndelete table {family} {name}\n"


def render_create(table: NftTable) -> str:
    """Make the table anew, replacing one of the same name, in one transaction."""
    lines = [f"add table {table.place}"]
    lines += [_add_chain(table, chain) for chain in table.chains]
    for nft_set in table.sets:
        lines += _add_set(table, nft_set)
    for chain in table.chains:
        lines += _rules(table, chain)
    return render_delete(table.family, table.name) + "\n".join(lines) + "\n"


def render_change(old: NftTable, new: NftTable) -> str:
    """Only what differs; empty when nothing does. A change of a hook or of a set's type makes the table anew."""
    old_chains = {chain.name: chain for chain in old.chains}
    old_sets = {nft_set.name: nft_set for nft_set in old.sets}
    new_chains = {chain.name: chain for chain in new.chains}
    new_sets = {nft_set.name: nft_set for nft_set in new.sets}
    if old.place != new.place or _redefined(old_chains, new_chains, old_sets, new_sets):
        return render_create(new)
    lines = [_add_chain(new, chain) for chain in new.chains if chain.name not in old_chains]
    for nft_set in new.sets:
        held = old_sets.get(nft_set.name)
        lines += _add_set(new, nft_set) if held is None else _change_set(new, held, nft_set)
    for chain in new.chains:
        known = old_chains.get(chain.name)
        if known is None or known.rules != chain.rules:
            lines += [] if known is None else [f"flush chain {new.place} {chain.name}"]
            lines += _rules(new, chain)
    gone = [name for name in old_chains if name not in new_chains]
    lines += [f"flush chain {new.place} {name}" for name in gone]
    lines += [f"delete chain {new.place} {name}" for name in gone]
    lines += [f"delete {held.word} {new.place} {name}" for name, held in old_sets.items() if name not in new_sets]
    return "\n".join(lines) + "\n" if lines else ""


def _redefined(
    old_chains: Mapping[str, NftChain],
    new_chains: Mapping[str, NftChain],
    old_sets: Mapping[str, NftSet],
    new_sets: Mapping[str, NftSet],
) -> bool:
    chains = any(old_chains[name].hook != chain.hook for name, chain in new_chains.items() if name in old_chains)
    return chains or any(old_sets[name].type != item.type for name, item in new_sets.items() if name in old_sets)


def _add_chain(table: NftTable, chain: NftChain) -> str:
    return f"add chain {table.place} {chain.name}" + (f" {{ {chain.hook} }}" if chain.hook else "")


def _add_set(table: NftTable, nft_set: NftSet) -> list[str]:
    return [
        f"add {nft_set.word} {table.place} {nft_set.name} {nft_set.definition}",
        *_elements("add", table, nft_set.name, nft_set.elements),
    ]


def _change_set(table: NftTable, old: NftSet, new: NftSet) -> list[str]:
    gone, fresh = _edition(new.elements).difference(_edition(old.elements))
    return _elements("delete", table, new.name, dict.fromkeys(gone, "")) + _elements("add", table, new.name, fresh)


def _edition(elements: Mapping[str, str]) -> Edition[str, str]:
    return elements if isinstance(elements, Edition) else Edition(elements)


def _elements(verb: str, table: NftTable, name: str, elements: Mapping[str, str]) -> list[str]:
    if not elements:
        return []
    body = ", ".join(f"{key} : {verdict}" if verdict else key for key, verdict in elements.items())
    return [f"{verb} element {table.place} {name} {{ {body} }}"]


def _rules(table: NftTable, chain: NftChain) -> list[str]:
    return [f"add rule {table.place} {chain.name} {rule}" for rule in chain.rules]


_COMMAND = re.compile(
    r"(add|insert|delete|flush) (table|chain|set|map|element|rule) (\w+) ([\w.-]+)(?: ([\w.-]+))?(.*)"
)
_HOOK = re.compile(r"type (\w+) hook (\w+) priority (-?\d+);(?: policy (\w+);)?")
_REFERENCE = re.compile(r"(?:jump|goto) (\w+)|@(\w+)")
_HANDLE = re.compile(r"handle (\d+)")
_COMMENT = re.compile(r'comment "([^"]*)"')


@dataclass
class MemoryTable:
    """What the twin holds of one table: chain texts with handles, hooks, and set elements."""

    chains: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    hooks: dict[str, str] = field(default_factory=dict)
    sets: dict[str, dict[str, str]] = field(default_factory=dict)


class MemoryFirewall:
    """The twin of `FirewallPort`: runs documents on tables in memory, refusing what the kernel would refuse."""

    def __init__(self) -> None:
        self.tables: dict[tuple[str, str], MemoryTable] = {}
        self.documents: list[str] = []
        self.refuse = ""
        self._handle = 0

    async def apply(self, document: str) -> None:
        if self.refuse:
            raise FirewallError(f"nft refused the rules: {self.refuse}")
        self.documents.append(document)
        before = deepcopy(self.tables)
        try:
            for line in document.splitlines():
                self._run(line)
            for place, table in self.tables.items():
                _check_references(place, table)
        except FirewallError:
            self.tables = before
            raise

    def stands(self, family: str, name: str) -> bool:
        return (family, name) in self.tables

    async def ruleset(self) -> list[dict[str, Any]]:
        return [item for family, name in self.tables for item in await self.table(family, name)]

    async def table(self, family: str, name: str) -> list[dict[str, Any]]:
        table = self.tables.get((family, name))
        if table is None:
            return []
        place = {"family": family, "table": name}
        objects: list[dict[str, Any]] = [{"table": {"family": family, "name": name}}]
        objects += [{"set": {**place, "name": item}} for item in table.sets]
        objects += [{"chain": {**place, "name": chain, **_hook_json(table.hooks[chain])}} for chain in table.chains]
        for chain, rules in table.chains.items():
            objects += [{"rule": {**place, "chain": chain, **_rule_json(handle, text)}} for handle, text in rules]
        return objects

    def _run(self, line: str) -> None:
        command = _COMMAND.fullmatch(line)
        if command is None:
            raise FirewallError(f"nft refused the rules: syntax error in: {line[:120]}")
        verb, kind, family, name, item, body = command.groups()
        if kind == "table":
            self._table_command(verb, (family, name))
            return
        table = self.tables.get((family, name))
        if table is None:
            raise FirewallError(f"nft refused the rules: no table {family} {name} in: {line[:120]}")
        run = {"chain": self._chain, "rule": self._rule, "element": self._element}.get(kind, self._set)
        try:
            run(table, verb, item, body.strip())
        except KeyError as error:
            raise FirewallError(f"nft refused the rules: no {error} in: {line[:120]}") from error

    def _table_command(self, verb: str, place: tuple[str, str]) -> None:
        if verb == "add":
            self.tables.setdefault(place, MemoryTable())
        elif self.tables.pop(place, None) is None:
            raise FirewallError(f"nft refused the rules: no table {place[0]} {place[1]}")

    def _chain(self, table: MemoryTable, verb: str, name: str, body: str) -> None:
        if verb == "add":
            table.chains.setdefault(name, [])
            table.hooks.setdefault(name, body.strip("{} "))
        elif verb == "flush":
            table.chains[name].clear()
        else:
            if table.chains.pop(name):
                raise FirewallError(f"nft refused the rules: chain {name} is not empty")
            del table.hooks[name]

    def _rule(self, table: MemoryTable, verb: str, name: str, body: str) -> None:
        rules = table.chains[name]
        if verb == "delete":
            found = _HANDLE.fullmatch(body)
            kept = [rule for rule in rules if found is None or rule[0] != int(found[1])]
            if len(kept) == len(rules):
                raise FirewallError(f"nft refused the rules: no rule {body} in {name}")
            rules[:] = kept
            return
        self._handle += 1
        rules.insert(0 if verb == "insert" else len(rules), (self._handle, body))

    def _set(self, table: MemoryTable, verb: str, name: str, _body: str) -> None:
        if verb == "add":
            table.sets.setdefault(name, {})
        else:
            del table.sets[name]

    def _element(self, table: MemoryTable, verb: str, name: str, body: str) -> None:
        held = table.sets[name]
        for element in body.strip("{} ").split(", "):
            key, _, verdict = element.partition(" : ")
            if verb == "delete":
                del held[key]
            elif held.get(key, verdict) != verdict:
                raise FirewallError(f"nft refused the rules: element {key} exists")
            else:
                held[key] = verdict


def _check_references(place: tuple[str, str], table: MemoryTable) -> None:
    texts = [text for rules in table.chains.values() for _, text in rules]
    texts += [verdict for elements in table.sets.values() for verdict in elements.values()]
    for text in texts:
        for chain, item in _REFERENCE.findall(text):
            if (chain and chain not in table.chains) or (item and item not in table.sets):
                raise FirewallError(f"nft refused the rules: {chain or item} is missing in {' '.join(place)}")


def _hook_json(hook: str) -> dict[str, Any]:
    found = _HOOK.search(hook)
    if found is None:
        return {}
    kind, name, priority, policy = found.groups()
    return {"type": kind, "hook": name, "prio": int(priority), "policy": policy or "accept"}


def _rule_json(handle: int, text: str) -> dict[str, Any]:
    comment = _COMMENT.search(text)
    words = _COMMENT.sub("", text).split()
    verdict = words[-1] if words else ""
    expr: list[dict[str, Any]] = []
    if words[:1] in (["iifname"], ["oifname"]):
        left = {"meta": {"key": words[0]}}
        expr.append({"match": {"op": "==", "left": left, "right": words[1].strip('"')}})
    elif [word for word in words[:-1] if word != "counter"]:
        expr.append({"match": {"op": "==", "left": {"meta": {"key": "other"}}, "right": " ".join(words[:-1])}})
    expr.append({verdict: None})
    return {"handle": handle, "expr": expr} | ({"comment": comment[1]} if comment else {})
