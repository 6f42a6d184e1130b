"""Other firewalls on this host: base chains that would drop tunnel traffic, and marked openings in them.

An accept of ours ends only our chain, so another table's drop wins (design.md 2, row 3). Openings are rules at the head
of the foreign chain that carry a comment of ours; a reload of the other firewall loses them and `Router.repair` puts
them back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.ports.firewall import LEGACY_FAMILIES
from appliance.router.foreign_walk import Expression, Outcome, Walk
from appliance.router.model import GUARD_NAME, TABLE_NAME, RouterModel

COMMENT = "waypost"
_FAMILIES = ("ip", "ip6", "inet", *LEGACY_FAMILIES.values())
_SIDES = {"input": ("iifname",), "forward": ("iifname", "oifname")}
"""By hook, where the tunnel's device stands in a packet of ours."""

Chain = tuple[str, str, str]
"""Family, table, chain."""


@dataclass(frozen=True, slots=True)
class ForeignDrop:
    """A chain of another table in which packets of the tunnel end."""

    family: str
    table: str
    chain: str
    hook: str

    @property
    def place(self) -> Chain:
        return self.family, self.table, self.chain

    def __str__(self) -> str:
        return f"{self.family} table {self.table} chain {self.chain} ({self.hook})"


def find_drops(objects: Iterable[Mapping[str, Any]], interface: str) -> list[ForeignDrop]:
    """Base chains in input and forward that drop what the tunnel brings, or what the site sends into it."""
    listed = list(objects)
    rules = _rules(listed)
    found: list[ForeignDrop] = []
    for item in listed:
        chain = item.get("chain")
        if not chain or chain.get("hook") not in _SIDES or chain["family"] not in _FAMILIES:
            continue
        if chain["table"] in (TABLE_NAME, GUARD_NAME):
            continue
        own = rules.get((chain["family"], chain["table"]), {})
        ends = {Walk(own, side, interface).outcome(chain["name"]) for side in _SIDES[chain["hook"]]}
        if Outcome.DROPPED in ends or (Outcome.OPEN in ends and chain.get("policy") == "drop"):
            found.append(ForeignDrop(chain["family"], chain["table"], chain["name"], chain["hook"]))
    return found


def openings(drop: ForeignDrop, model: RouterModel) -> dict[str, str]:
    """Comment to rule text, for one chain."""
    came, goes = f'iifname "{model.interface}"', f'oifname "{model.interface}"'
    if drop.hook == "forward":
        sides = {
            f"{COMMENT} {way} {device.name}": f'{key} "{device.name}" accept'
            for device in model.devices
            for way, key in (("from", "iifname"), ("to", "oifname"))
        }
        return {f"{COMMENT} from tunnel": f"{came} accept", f"{COMMENT} to tunnel": f"{goes} accept", **sides}
    wireguard = {f"{COMMENT} port {port}": f"udp dport {port} accept" for port in model.udp_ports}
    return {f"{COMMENT} from tunnel": f"{came} accept", **wireguard}


def opening_document(objects: Iterable[Mapping[str, Any]], model: RouterModel) -> str:
    """Make the openings what the model asks for: stale ones go, missing ones come; empty when all is well."""
    listed = list(objects)
    present = {(chain, comment): handle for chain, comment, handle in _marked(listed)}
    without = [item for item in listed if not _is_marked(item)]
    wanted = {
        (drop.place, comment): text
        for drop in find_drops(without, model.interface)
        if drop.family not in LEGACY_FAMILIES.values()
        for comment, text in openings(drop, model).items()
    }
    lines = [_delete(place, handle) for (place, comment), handle in present.items() if (place, comment) not in wanted]
    for (place, comment), text in wanted.items():
        if (place, comment) not in present:
            lines.append(f'insert rule {" ".join(place)} {text} comment "{comment}"')
    return "".join(line + "\n" for line in lines)


def closing_document(objects: Iterable[Mapping[str, Any]]) -> str:
    """Remove every opening of ours; empty when there is none."""
    return "".join(_delete(place, handle) + "\n" for place, _, handle in _marked(objects))


def _delete(place: Chain, handle: int) -> str:
    return f"delete rule {' '.join(place)} handle {handle}"


def _marked(objects: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Chain, str, int]]:
    for item in objects:
        if _is_marked(item):
            rule = item["rule"]
            yield (rule["family"], rule["table"], rule["chain"]), rule["comment"], rule["handle"]


def _is_marked(item: Mapping[str, Any]) -> bool:
    rule = item.get("rule") or {}
    return rule.get("table") != TABLE_NAME and str(rule.get("comment", "")).startswith(f"{COMMENT} ")


def _rules(objects: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, list[Expression]]]:
    """By table, then by chain."""
    found: dict[tuple[str, str], dict[str, list[Expression]]] = {}
    for item in objects:
        if rule := item.get("rule"):
            chains = found.setdefault((rule["family"], rule["table"]), {})
            chains.setdefault(rule["chain"], []).append(rule.get("expr", []))
    return found
